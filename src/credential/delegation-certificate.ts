/** Whether a certificate may sign delegated credentials (RFC 9345 section 4.2) that browsers accept, and if not, why. Pure. */
import { formatRfc3339 } from '../text/rfc3339.ts';
import { type Certificate, readCertificateChain } from './certificate.ts';
import { CertificateError } from './errors.ts';
import { DELEGATION_USAGE_OID } from './extensions.ts';
import { type KeyAlgorithm, schemeByKeyAlgorithm, type Usage } from './scheme.ts';

/** A leaf that may sign delegated credentials (RFC 9345 section 4.2) with a key that browsers accept. */
export interface DelegationCertificate extends Certificate {
  readonly keyAlgorithm: KeyAlgorithm;
  readonly authority: false;
  readonly digitalSignature: true;
  readonly delegationUsage: 'present';
}

/**
 * Reads a PEM chain whose first certificate is to sign credentials. Looks at no clock (see `checkCertificateValidity`) and at no
 * usage (see `checkCertificateUsage`). Throws CertificateError with the reason it cannot.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { readFileSync } from 'node:fs';
 * import { readDelegationCertificate } from 'dcred/credential';
 *
 * const certificate = readDelegationCertificate(readFileSync('leaf.crt', 'utf8'));
 * assert.equal(certificate.keyAlgorithm, 'ECDSAP256');
 * assert.throws(() => readDelegationCertificate(readFileSync('ca.crt', 'utf8')), { code: 'CertificateCannotDelegate' });
 */
export function readDelegationCertificate(chainPem: string): DelegationCertificate {
  const [leaf, ...rest] = readCertificateChain(chainPem);
  if (leaf.authority && rest.some((certificate) => !certificate.authority)) {
    throw new CertificateError(
      'CertificateInvalid',
      `the first certificate is "${leaf.subject}", a CA: put the leaf first, then its chain`,
    );
  }
  const refusal = checkDelegation(leaf);
  if (refusal !== undefined) throw refusal;
  return leaf as DelegationCertificate;
}

/**
 * Why this certificate cannot sign credentials that peers accept, or undefined when it can.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { readFileSync } from 'node:fs';
 * import { checkDelegation, readCertificateChain } from 'dcred/credential';
 *
 * const [ca] = readCertificateChain(readFileSync('ca.crt', 'utf8'));
 * assert.equal(checkDelegation(ca)?.code, 'CertificateCannotDelegate');
 */
export function checkDelegation(certificate: Certificate): CertificateError | undefined {
  return checkCertificateKey(certificate) ?? checkCertificateExtensions(certificate);
}

/** What to do about a key of the right kind in another encoding; to be followed by what to do with the new one. */
export const RE_ENCODE_KEY =
  'clients accept only a named curve and an uncompressed point: re-encode the key (openssl ec -in tls.key -param_enc named_curve ' +
  '-conv_form uncompressed -out new.key)';

/** @param keyAlgorithm undefined: of no scheme, or encoded as TLS does not */
export function mayDelegate(keyAlgorithm: Certificate['keyAlgorithm']): boolean {
  return keyAlgorithm !== undefined && schemeByKeyAlgorithm(keyAlgorithm).delegates;
}

/** Browsers accept credentials signed by ECDSA leaves only, with the key encoded as TLS encodes it. */
export function checkCertificateKey(certificate: Certificate): CertificateError | undefined {
  const { keyAlgorithm, keyDescription, keyEncoding, subject } = certificate;
  if (mayDelegate(keyAlgorithm)) return undefined;
  const refuse = (message: string) =>
    new CertificateError('CertificateKeyUnsupported', `the certificate "${subject}" has a key of kind ${message}`);
  if (keyEncoding === 'other') {
    return refuse(`${keyDescription}; ${RE_ENCODE_KEY} and request a new certificate for it`);
  }
  return refuse(
    `${keyDescription}; Firefox refuses credentials signed with anything but ECDSA P-256, P-384 or P-521: use a certificate with ` +
      'an ECDSA P-256 key',
  );
}

/** RFC 9345 section 4.2. */
export function checkCertificateExtensions(certificate: Certificate): CertificateError | undefined {
  const { authority, delegationUsage, digitalSignature, subject } = certificate;
  const refuse = (message: string) => cannotDelegate(subject, message);
  if (delegationUsage === 'absent') {
    return refuse(
      `lacks the DelegationUsage extension (${DELEGATION_USAGE_OID}): ask its CA for one that has it; with OpenSSL, ` +
        `-addext ${DELEGATION_USAGE_OID}=ASN1:NULL`,
    );
  }
  if (delegationUsage === 'malformed') {
    return refuse(
      `has a DelegationUsage extension (${DELEGATION_USAGE_OID}) whose value is not NULL (05 00): ask its CA for one that has; ` +
        `with OpenSSL, -addext ${DELEGATION_USAGE_OID}=ASN1:NULL`,
    );
  }
  if (delegationUsage === 'critical') {
    return refuse(
      `marks DelegationUsage (${DELEGATION_USAGE_OID}) as critical, so that clients which do not know it refuse the certificate ` +
        'itself; RFC 9345 section 4.2 forbids that: ask its CA for one where it is non-critical',
    );
  }
  if (!digitalSignature) {
    return refuse(
      'lacks keyUsage digitalSignature: ask its CA for one that has it; with OpenSSL, ' +
        '-addext keyUsage=critical,digitalSignature',
    );
  }
  if (!authority) return undefined;
  return refuse(
    'is a CA, and clients accept no CA as a server: delegate from an end-entity certificate; with OpenSSL, ' +
      '-addext basicConstraints=critical,CA:FALSE',
  );
}

const PURPOSE = { Server: 'serverAuth', Client: 'clientAuth' } as const satisfies Record<Usage, string>;

/**
 * Why the certificate's extendedKeyUsage does not permit credentials for this side of TLS, or undefined when it does. NSS refuses
 * a server whose certificate is for clients only, credential or not.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { readFileSync } from 'node:fs';
 * import { checkCertificateUsage, readDelegationCertificate } from 'dcred/credential';
 *
 * const certificate = readDelegationCertificate(readFileSync('leaf.crt', 'utf8'));
 * assert.equal(checkCertificateUsage(certificate, 'Server'), undefined);
 */
export function checkCertificateUsage(
  { permittedUsages, subject }: Pick<Certificate, 'permittedUsages' | 'subject'>,
  usage: Usage,
): CertificateError | undefined {
  if (permittedUsages.includes(usage)) return undefined;
  const [other] = permittedUsages;
  const found = other === undefined ? 'neither serverAuth nor clientAuth' : `${PURPOSE[other]} only`;
  const instead = other === undefined ? '' : `, or issue ${other} credentials (usage: ${other})`;
  return cannotDelegate(
    subject,
    `has an extendedKeyUsage with ${found}, so peers refuse it for a ${usage}: ask its CA for one with ${PURPOSE[usage]}${instead}`,
  );
}

function cannotDelegate(subject: string, message: string): CertificateError {
  return new CertificateError('CertificateCannotDelegate', `the certificate "${subject}" ${message}`);
}

/**
 * Why the certificate is not valid at `now` (seconds since the epoch), or undefined when it is.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { checkCertificateValidity } from 'dcred/credential';
 *
 * const certificate = { subject: 'CN=web.example', notBefore: 1_000, notAfter: 2_000 };
 * assert.equal(checkCertificateValidity(certificate, 2_000), undefined);
 * assert.equal(checkCertificateValidity(certificate, 2_001)?.code, 'CertificateInvalid');
 */
export function checkCertificateValidity(
  { notAfter, notBefore, subject }: Pick<Certificate, 'subject' | 'notBefore' | 'notAfter'>,
  now: number,
): CertificateError | undefined {
  if (now < notBefore) {
    return new CertificateError(
      'CertificateInvalid',
      `the certificate "${subject}" is not valid before ${formatRfc3339(notBefore)}, and it is ${formatRfc3339(now)}: wait, or use one ` +
        'that is valid now',
    );
  }
  if (now <= notAfter) return undefined;
  return new CertificateError(
    'CertificateInvalid',
    `the certificate "${subject}" expired at ${formatRfc3339(notAfter)}, and it is ${formatRfc3339(now)}: renew it`,
  );
}
