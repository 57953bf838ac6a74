/** Checks a delegated credential as a TLS peer does (RFC 9345 section 4.1.3), and says everything that is wrong with it. Pure. */
import { formatRfc3339 } from '../text/rfc3339.ts';
import type { Certificate } from './certificate.ts';
import {
  checkCertificateExtensions,
  checkCertificateKey,
  checkCertificateUsage,
  checkCertificateValidity,
} from './delegation-certificate.ts';
import { MalformedCredentialError } from './errors.ts';
import { MAX_VALIDITY_SECONDS } from './lifetime.ts';
import {
  type KeyAlgorithm,
  type SignatureScheme,
  schemeByCode,
  schemeByKeyAlgorithm,
  schemeBySubjectPublicKeyInfo,
  type Usage,
} from './scheme.ts';
import { type VerifySignature, verifyWithNode } from './signature.ts';
import { isUsableKey } from './usable-key.ts';
import {
  type DelegatedCredential,
  decodeDelegatedCredential,
  encodeDelegatedCredential,
  signatureInput,
} from './wire.ts';

/** Why a credential is refused; one for each check, in the order in which they are made. */
export type RefusalCode =
  | 'Malformed'
  | 'CertificateInvalid'
  | 'CertificateKeyUnsupported'
  | 'CertificateCannotDelegate'
  | 'VerifyAlgorithmUnsupported'
  | 'PublicKeyUnsuitable'
  | 'Expired'
  | 'ValidTooLong'
  | 'OutlivesCertificate'
  | 'SignatureAlgorithmMismatch'
  | 'BadSignature'
  | 'KeyMismatch';

/** One check and its outcome. */
interface Check {
  /** What is checked, as a short statement that should hold. */
  readonly name: string;
  /** The reason for refusal, should it not hold. */
  readonly code: RefusalCode;
  readonly ok: boolean;
  /** What was found: a detail when it holds, and why not when it does not. */
  readonly message: string;
}

type VerifySubject =
  | { readonly bytes: Uint8Array; readonly credential?: never }
  | { readonly credential: DelegatedCredential; readonly bytes?: never };

export type VerifyRequest = VerifySubject & {
  readonly certificate: Certificate;
  readonly usage: Usage;
  /** Seconds since the epoch. */
  readonly now: number;
  /** The SubjectPublicKeyInfo (DER) of the key that the credential must be for; omitted: any. */
  readonly publicKey?: Uint8Array;
  /** Default: `verifyWithNode`. */
  readonly verifySignature?: VerifySignature;
};

export type VerifyResult =
  | {
      readonly ok: true;
      readonly credential: DelegatedCredential;
      /** Seconds since the epoch. */
      readonly expiresAt: number;
      readonly keyAlgorithm: KeyAlgorithm;
      readonly checks: readonly Check[];
    }
  | { readonly ok: false; readonly code: RefusalCode; readonly message: string; readonly checks: readonly Check[] };

/**
 * Makes every check of RFC 9345 section 4.1.3 that does not need a handshake, those of section 4.2 on the certificate, and
 * that the credential expires before the certificate. All are made, so that a person sees everything that is wrong; the result
 * carries the first refusal. Never throws for bad input; does not check the certificate's chain.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { readFileSync } from 'node:fs';
 * import { readDelegationCertificate, verifyCredential } from 'dcred/credential';
 *
 * const certificate = readDelegationCertificate(readFileSync('leaf.crt', 'utf8'));
 * const now = Date.parse('2026-11-22T22:00:00Z') / 1000;
 * const result = verifyCredential({ bytes: readFileSync('p256.dc'), certificate, usage: 'Server', now });
 * assert.equal(result.ok, true);
 * const expired = verifyCredential({ bytes: readFileSync('exp.dc'), certificate, usage: 'Server', now });
 * assert.equal(expired.ok === false && expired.code, 'Expired');
 */
export function verifyCredential(request: VerifyRequest): VerifyResult {
  const decoded = decode(request);
  if (!('credential' in decoded)) return { ok: false, code: 'Malformed', message: decoded.message, checks: [decoded] };
  const { credential } = decoded;
  const { certificate, now } = request;
  const expiresAt = certificate.notBefore + credential.validTime;
  const scheme = schemeByCode(credential.dcCertVerifyAlgorithm);
  const checks: readonly Check[] = [
    decoded.check,
    certificateCheck('the certificate is valid now', 'CertificateInvalid', checkCertificateValidity(certificate, now)),
    certificateCheck(
      "the certificate's key may delegate",
      'CertificateKeyUnsupported',
      checkCertificateKey(certificate),
    ),
    certificateCheck(
      'the certificate may delegate',
      'CertificateCannotDelegate',
      checkCertificateExtensions(certificate),
    ),
    certificateCheck(
      `the certificate may be used by a ${request.usage}`,
      'CertificateCannotDelegate',
      checkCertificateUsage(certificate, request.usage),
    ),
    checkVerifyAlgorithm(credential, scheme),
    checkPublicKey(credential, scheme),
    checkNotExpired(expiresAt, now),
    checkValidity(expiresAt, now),
    checkWithinCertificate(expiresAt, certificate),
    checkSignatureAlgorithm(credential, certificate),
    checkSignature(credential, request),
    ...(request.publicKey === undefined ? [] : [checkKey(credential, request.publicKey)]),
  ];
  const refusal = checks.find((check) => !check.ok);
  if (refusal !== undefined) return { ok: false, code: refusal.code, message: refusal.message, checks };
  if (scheme === undefined) throw new TypeError('a credential without a scheme passed every check');
  return { ok: true, credential, expiresAt, keyAlgorithm: scheme.keyAlgorithm, checks };
}

function decode(request: VerifyRequest): { credential: DelegatedCredential; check: Check } | Check {
  const name = 'the credential is well-formed';
  try {
    // Fields that came decoded are held to the same rules, by way of the codec.
    const bytes = request.bytes ?? encodeDelegatedCredential(request.credential);
    const credential = decodeDelegatedCredential(bytes);
    return { credential, check: { name, code: 'Malformed', ok: true, message: '' } };
  } catch (error) {
    if (!(error instanceof MalformedCredentialError)) throw error;
    return {
      name,
      code: 'Malformed',
      ok: false,
      message: `the credential is malformed (${error.code}): ${error.message}`,
    };
  }
}

function certificateCheck(name: string, code: RefusalCode, refusal: Error | undefined): Check {
  return { name, code, ok: refusal === undefined, message: refusal?.message ?? '' };
}

/** RFC 9345 section 4 forbids the schemes of rsaEncryption keys; others are unknown here. */
function checkVerifyAlgorithm(
  { dcCertVerifyAlgorithm }: DelegatedCredential,
  scheme: SignatureScheme | undefined,
): Check {
  const name = 'dc_cert_verify_algorithm is allowed';
  const code = 'VerifyAlgorithmUnsupported';
  if (scheme !== undefined) return { name, code, ok: true, message: scheme.name };
  const value = formatCode(dcCertVerifyAlgorithm);
  const message = RSA_PSS_RSAE.has(dcCertVerifyAlgorithm)
    ? `dc_cert_verify_algorithm is ${value} (rsa_pss_rsae), which RFC 9345 section 4 forbids: use an ECDSA P-256 credential key`
    : `dc_cert_verify_algorithm is ${value}, which is not allowed for credentials: use an ECDSA P-256 credential key`;
  return { name, code, ok: false, message };
}

const RSA_PSS_RSAE: ReadonlySet<number> = new Set([0x0804, 0x0805, 0x0806]);

function checkPublicKey(credential: DelegatedCredential, scheme: SignatureScheme | undefined): Check {
  const name = "the credential's key is of that kind";
  const code = 'PublicKeyUnsuitable';
  const spki = credential.subjectPublicKeyInfo;
  const found = schemeBySubjectPublicKeyInfo(spki);
  if (found === undefined || found !== scheme) {
    const message =
      `dc_cert_verify_algorithm ${scheme?.name ?? formatCode(credential.dcCertVerifyAlgorithm)} needs a key of that kind; the ` +
      `credential holds ${found === undefined ? 'a key of another kind' : `an ${found.keyAlgorithm} key`}`;
    return { name, code, ok: false, message };
  }
  if (isUsableKey(spki, found)) return { name, code, ok: true, message: found.keyAlgorithm };
  return { name, code, ok: false, message: `the credential's ${found.keyAlgorithm} key is not a point on its curve` };
}

function checkNotExpired(expiresAt: number, now: number): Check {
  const ok = now <= expiresAt;
  const message = ok
    ? `until ${formatRfc3339(expiresAt)}`
    : `the credential expired at ${formatRfc3339(expiresAt)}, and it is ${formatRfc3339(now)}: issue a new one`;
  return { name: 'the credential has not expired', code: 'Expired', ok, message };
}

function checkValidity(expiresAt: number, now: number): Check {
  const remaining = expiresAt - now;
  const ok = remaining <= MAX_VALIDITY_SECONDS;
  const message = ok
    ? ''
    : `the credential is valid until ${formatRfc3339(expiresAt)}, ${remaining} seconds from now; peers refuse more than ` +
      `${MAX_VALIDITY_SECONDS} (seven days): issue one with a shorter lifetime`;
  return { name: 'at most seven days remain', code: 'ValidTooLong', ok, message };
}

function checkWithinCertificate(expiresAt: number, { notAfter }: Certificate): Check {
  const ok = expiresAt < notAfter;
  const message = ok
    ? ''
    : `the credential expires at ${formatRfc3339(expiresAt)}, not before its certificate (${formatRfc3339(notAfter)}): renew the certificate`;
  return { name: 'the credential expires before the certificate', code: 'OutlivesCertificate', ok, message };
}

function checkSignatureAlgorithm({ algorithm }: DelegatedCredential, certificate: Certificate): Check {
  const name = "the signature's algorithm fits the certificate's key";
  const code = 'SignatureAlgorithmMismatch';
  const expected = schemeOf(certificate);
  if (expected?.code === algorithm) return { name, code, ok: true, message: expected.name };
  const message =
    `the credential is signed by ${schemeByCode(algorithm)?.name ?? formatCode(algorithm)}; the certificate's key ` +
    `(${certificate.keyDescription}) signs by ${expected?.name ?? 'none that credentials may use'}`;
  return { name, code, ok: false, message };
}

function checkSignature(credential: DelegatedCredential, request: VerifyRequest): Check {
  const { certificate, usage, verifySignature = verifyWithNode } = request;
  const name = `the certificate's key signed it as a ${usage} credential`;
  const code = 'BadSignature';
  const scheme = schemeOf(certificate);
  const isSignedFor = (candidate: Usage) =>
    scheme !== undefined &&
    scheme.code === credential.algorithm &&
    verifySignature({
      scheme,
      publicKey: certificate.publicKey,
      message: signatureInput(candidate, certificate.der, credential, credential.algorithm),
      signature: credential.signature,
    });
  if (isSignedFor(usage)) return { name, code, ok: true, message: '' };
  const other = usage === 'Server' ? 'Client' : 'Server';
  const message = isSignedFor(other)
    ? `the credential is signed for the usage ${other}, not ${usage}: issue one for ${usage}`
    : `the credential is not signed by the key of the certificate "${certificate.subject}", for exactly this certificate: a new ` +
      'certificate voids every credential, even on the same key; issue a new one';
  return { name, code, ok: false, message };
}

function checkKey({ subjectPublicKeyInfo }: DelegatedCredential, publicKey: Uint8Array): Check {
  const ok = Buffer.compare(subjectPublicKeyInfo, publicKey) === 0;
  const message = ok
    ? ''
    : 'the credential is for another key than the one given: use the key it was issued with (dc.key)';
  return { name: 'the credential is for the key given', code: 'KeyMismatch', ok, message };
}

function schemeOf({ keyAlgorithm }: Certificate): SignatureScheme | undefined {
  return keyAlgorithm === undefined ? undefined : schemeByKeyAlgorithm(keyAlgorithm);
}

function formatCode(code: number): string {
  return `0x${code.toString(16).padStart(4, '0')}`;
}
