/**
 * The package's entry point, `dcred/credential`: delegated credentials for TLS (RFC 9345), pure. See README.md. Within this
 * repository import the files themselves.
 */
// biome-ignore-all lint/performance/noBarrelFile: a package has one entry point
export {
  type Certificate,
  PEM_LIMITS,
  type PemLimits,
  readCertificate,
  readCertificateChain,
} from './certificate.ts';
export { type CredentialKey, credentialKeyFromPem, generateCredentialKey } from './credential-key.ts';
export {
  type CredentialHolder,
  type CredentialRequest,
  type CredentialSigner,
  composingSigner,
} from './credential-signer.ts';
export {
  checkCertificateUsage,
  checkCertificateValidity,
  checkDelegation,
  type DelegationCertificate,
  readDelegationCertificate,
} from './delegation-certificate.ts';
export {
  CertificateError,
  type CertificateErrorCode,
  CredentialKeyError,
  type CredentialKeyErrorCode,
  type MalformedCredentialCode,
  MalformedCredentialError,
  UnexpectedCredentialError,
} from './errors.ts';
export { DELEGATION_USAGE_OID } from './extensions.ts';
export {
  CREDENTIAL_FILE_NAMES,
  type CredentialFileName,
  type CredentialFilesRequest,
  credentialFiles,
  SECRET_FILE_NAMES,
} from './files.ts';
export {
  type CredentialFile,
  type CredentialFormat,
  type FizzParts,
  readCredentialFile,
  toFizz,
  toHex,
  toPem,
} from './formats.ts';
export { type IssuedCredential, type IssueRequest, issueCredential } from './issue.ts';
export {
  CLOCK_SKEW_SECONDS,
  type ExpiryRequest,
  expiryFor,
  MAX_LIFETIME_SECONDS,
  MAX_VALIDITY_SECONDS,
  MIN_LIFETIME_SECONDS,
} from './lifetime.ts';
export { type PemBlock, PemError, readPem, writePem } from './pem.ts';
export {
  KEY_ALGORITHMS,
  type KeyAlgorithm,
  SIGNATURE_SCHEMES,
  type SignatureScheme,
  schemeByCode,
  schemeByKeyAlgorithm,
  schemeBySubjectPublicKeyInfo,
  USAGES,
  type Usage,
} from './scheme.ts';
export { type VerifySignature, verifyWithNode } from './signature.ts';
export { assertSignerMatches, type Signer, signerFromPem } from './signer.ts';
export { type RefusalCode, type VerifyRequest, type VerifyResult, verifyCredential } from './verify.ts';
export {
  type Credential,
  type DelegatedCredential,
  decodeDelegatedCredential,
  encodeCredential,
  encodeDelegatedCredential,
  MAX_CREDENTIAL_BYTES,
  signatureInput,
} from './wire.ts';
