/**
 * What signs credentials: asked for one by what it is made of, never by bytes. A process that holds no key has them signed by one
 * that does (`dcred signer`); `composingSigner` is the one for a key at hand.
 */
import type { Certificate } from './certificate.ts';
import { CertificateError } from './errors.ts';
import type { Usage } from './scheme.ts';
import type { Signer } from './signer.ts';
import { encodeDelegatedCredential, signatureInput } from './wire.ts';

/** Whom a credential is for: what a remote signer grants by, and writes into its audit log. */
export interface CredentialHolder {
  readonly namespace: string;
  /** The DelegatedCredential's name. */
  readonly resource: string;
  readonly podUid: string;
}

export interface CredentialRequest {
  readonly certificate: Pick<Certificate, 'der' | 'keyAlgorithm' | 'notBefore' | 'sha256' | 'subject'>;
  readonly usage: Usage;
  /** SignatureScheme that the credential key will use in CertificateVerify; a u16. */
  readonly dcCertVerifyAlgorithm: number;
  /** The credential key's public half, DER. */
  readonly subjectPublicKeyInfo: Uint8Array;
  /** Seconds since the epoch. */
  readonly expiresAt: number;
  /** Undefined: for files, and no pod. */
  readonly holder?: CredentialHolder | undefined;
}

export interface CredentialSigner {
  /** Resolves with struct DelegatedCredential. Whoever publishes it verifies it: the answer may come from another process. */
  signCredential(request: CredentialRequest, options: { readonly signal?: AbortSignal }): Promise<Uint8Array>;
}

/**
 * Composes what is signed (RFC 9345 section 4) and signs it with the delegation key.
 * `signCredential` throws CertificateError for a signer whose key is of another algorithm than the certificate's, MalformedCredentialError
 * for fields that do not fit, and whatever the signer throws.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { readFileSync } from 'node:fs';
 * import { composingSigner, decodeDelegatedCredential, generateCredentialKey, readDelegationCertificate, signerFromPem } from 'dcred/credential';
 *
 * const certificate = readDelegationCertificate(readFileSync('leaf.crt', 'utf8'));
 * const { subjectPublicKeyInfo } = await generateCredentialKey('ECDSAP256');
 * const signer = composingSigner(signerFromPem(readFileSync('leaf.key', 'utf8')));
 * const expiresAt = certificate.notBefore + 3_600;
 * const request = { certificate, usage: 'Server', dcCertVerifyAlgorithm: 0x0403, subjectPublicKeyInfo, expiresAt } as const;
 * assert.equal(decodeDelegatedCredential(await signer.signCredential(request, {})).validTime, 3_600);
 */
export function composingSigner(signer: Signer): CredentialSigner {
  return {
    async signCredential(request, options) {
      const { certificate, dcCertVerifyAlgorithm, expiresAt, subjectPublicKeyInfo, usage } = request;
      const { code: algorithm, keyAlgorithm } = signer.scheme;
      if (keyAlgorithm !== certificate.keyAlgorithm) {
        throw new CertificateError(
          'CertificateInvalid',
          `the private key (${keyAlgorithm}) does not belong to the certificate "${certificate.subject}" ` +
            `(${certificate.keyAlgorithm}): use the key that the certificate was made for`,
        );
      }
      const body = { validTime: expiresAt - certificate.notBefore, dcCertVerifyAlgorithm, subjectPublicKeyInfo };
      const signature = await signer.sign(signatureInput(usage, certificate.der, body, algorithm), options);
      return encodeDelegatedCredential({ ...body, algorithm, signature });
    },
  };
}
