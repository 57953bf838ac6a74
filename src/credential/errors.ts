/** The errors of the credential core. Each has a `code` in PascalCase; those of certificates are condition reasons too. */

/** Why a certificate (or its key) cannot be used for delegated credentials. */
export type CertificateErrorCode = 'CertificateInvalid' | 'CertificateCannotDelegate' | 'CertificateKeyUnsupported';

/** A certificate or delegation key that cannot be used. The message says what was expected, what was found, what to do. */
export class CertificateError extends Error {
  override readonly name = 'CertificateError';
  readonly code: CertificateErrorCode;

  constructor(code: CertificateErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Which rule of the wire format a credential breaks (RFC 9345 section 4). */
export type MalformedCredentialCode =
  | 'TooLong'
  | 'TruncatedValidTime'
  | 'TruncatedVerifyAlgorithm'
  | 'TruncatedPublicKeyLength'
  | 'EmptyPublicKey'
  | 'TruncatedPublicKey'
  | 'TruncatedAlgorithm'
  | 'TruncatedSignatureLength'
  | 'EmptySignature'
  | 'TruncatedSignature'
  | 'TrailingBytes'
  | 'ValidTimeOutOfRange'
  | 'AlgorithmOutOfRange'
  | 'NotACredentialFile';

/** Bytes that are not a DelegatedCredential, or fields that cannot be written as one. */
export class MalformedCredentialError extends Error {
  override readonly name = 'MalformedCredentialError';
  readonly code: MalformedCredentialCode;

  constructor(code: MalformedCredentialCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Why a credential key cannot be used. */
export type CredentialKeyErrorCode = 'KeyInvalid' | 'KeyUnsupported';

/** A credential key that cannot be read or used. Never carries a byte of the key, nor a cause that might. */
export class CredentialKeyError extends Error {
  override readonly name = 'CredentialKeyError';
  readonly code: CredentialKeyErrorCode;

  constructor(code: CredentialKeyErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** A signer answered with a credential that is not the requested one. It is never published. */
export class UnexpectedCredentialError extends Error {
  override readonly name = 'UnexpectedCredentialError';
  readonly code = 'UnexpectedCredential';
}
