/** A CA: its certificate, its chain, and what signs with its key. */
import { createHash, X509Certificate } from 'node:crypto';
import { type Certificate, readCertificateChain } from '../credential/certificate.ts';
import { mayDelegate, RE_ENCODE_KEY } from '../credential/delegation-certificate.ts';
import { readElement, readElements, TAG } from '../credential/der.ts';
import { CertificateError } from '../credential/errors.ts';
import type { Signer } from '../credential/signer.ts';
import { formatRfc3339 } from '../text/rfc3339.ts';
import { MIN_DURATION_SECONDS } from './policy.ts';

export interface Authority {
  readonly certificate: Certificate;
  readonly signer: Signer;
  /** DER of its subject: the issuer of what it signs. */
  readonly name: Uint8Array;
  /** Its subjectKeyIdentifier (RFC 5280 section 4.2.1.2). */
  readonly keyIdentifier: Uint8Array;
  /** What follows the leaf in a chain, PEM: empty for a root, which clients have. */
  readonly chainPem: string;
  /** What clients trust, PEM: the last certificate of the Secret. */
  readonly rootPem: string;
}

/**
 * Reads a CA's tls.crt. Throws CertificateError for what is no CA, or no longer one: what it signs expires with it, so in its last hour
 * every certificate would be due for renewal at once, again and again. `now` in seconds.
 */
export function readAuthority(chainPem: string, now: number): Omit<Authority, 'signer'> {
  const chain = readCertificateChain(chainPem);
  const [certificate] = chain;
  const x509 = new X509Certificate(certificate.der);
  if (!certificate.authority || !x509.ca) {
    throw new CertificateError(
      'CertificateInvalid',
      `"${certificate.subject}" is not a CA: expected basicConstraints CA:TRUE and keyUsage keyCertSign`,
    );
  }
  const problem = problemOfKey(certificate) ?? problemOfTime(certificate, now);
  if (problem !== undefined)
    throw new CertificateError('CertificateInvalid', `the CA "${certificate.subject}" ${problem}`);
  const [tbs] = readElements(readElement(certificate.der, TAG.sequence).content);
  const fields = readElements(readElement(tbs?.encoded ?? new Uint8Array(), TAG.sequence).content);
  const first = fields[0]?.tag === TAG.version ? 1 : 0;
  const [name, spki] = [fields[first + 4], fields[first + 5]];
  if (name === undefined || spki === undefined)
    throw new CertificateError('CertificateInvalid', 'the CA certificate is cut off');
  const isSelfSigned = (one: Certificate) => {
    const parsed = new X509Certificate(one.der);
    return parsed.subject === parsed.issuer;
  };
  return {
    certificate,
    name: name.encoded,
    keyIdentifier: subjectKeyIdentifier(fields) ?? createHash('sha1').update(publicKeyBits(spki.content)).digest(),
    chainPem: chain
      .filter((one) => !isSelfSigned(one))
      .map(({ leafPem }) => leafPem)
      .join(''),
    rootPem: chain.at(-1)?.leafPem ?? '',
  };
}

/** Checked before the private key is compared with it: that key would be said to belong to another certificate. */
function problemOfKey({ keyAlgorithm, keyDescription, keyEncoding }: Certificate): string | undefined {
  if (mayDelegate(keyAlgorithm)) return undefined;
  if (keyEncoding === 'other') {
    return `has a key of kind ${keyDescription}; ${RE_ENCODE_KEY} and make the certificate of the CA again`;
  }
  return `has a key of kind ${keyDescription}; dcred issuer signs with ECDSA P-256, P-384 or P-521: use a CA with such a key`;
}

function problemOfTime({ notAfter, notBefore }: Certificate, now: number): string | undefined {
  if (now < notBefore) return 'is not yet valid';
  if (now > notAfter) return 'is expired: replace it';
  if (now > notAfter - MIN_DURATION_SECONDS)
    return `expires at ${formatRfc3339(notAfter)}, and signs nothing in its last hour: replace it`;
  return undefined;
}

function publicKeyBits(spki: Uint8Array): Uint8Array {
  return readElements(spki)[1]?.content.subarray(1) ?? new Uint8Array();
}

function subjectKeyIdentifier(fields: ReturnType<typeof readElements>): Uint8Array | undefined {
  const extensions = fields.find(({ tag }) => tag === TAG.extensions);
  if (extensions === undefined) return undefined;
  for (const { content } of readElements(readElement(extensions.content, TAG.sequence).content)) {
    const parts = readElements(content);
    const isIt = Buffer.from(parts[0]?.content ?? []).toString('hex') === '551d0e';
    if (isIt) return readElement(parts.at(-1)?.content ?? new Uint8Array(), TAG.octetString).content;
  }
  return undefined;
}
