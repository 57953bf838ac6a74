import { formatRfc3339 } from '../text/rfc3339.ts';
import { type Certificate, DELEGATION_USAGE_OID, readCertificateChain } from './certificate.ts';
import { CertificateError } from './errors.ts';
import { type KeyAlgorithm, schemeByKeyAlgorithm } from './scheme.ts';

/** A leaf that may sign delegated credentials (RFC 9345 section 4.2) with a key that browsers accept. */
export interface DelegationCertificate extends Certificate {
  readonly keyAlgorithm: KeyAlgorithm;
  readonly authority: false;
  readonly digitalSignature: true;
  readonly delegationUsage: 'present';
}

/**
 * Reads a PEM chain whose first certificate is to sign credentials. Looks at no clock: see `checkCertificateValidity`.
 * Throws CertificateError with the reason it cannot.
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

/** Why this certificate cannot sign credentials that peers accept, or undefined when it can. */
export function checkDelegation(certificate: Certificate): CertificateError | undefined {
  return checkCertificateKey(certificate) ?? checkCertificateExtensions(certificate);
}

/** Browsers accept credentials signed by ECDSA leaves only. */
export function checkCertificateKey({
  keyAlgorithm,
  keyDescription,
  subject,
}: Certificate): CertificateError | undefined {
  if (keyAlgorithm !== undefined && schemeByKeyAlgorithm(keyAlgorithm).delegates) return undefined;
  return new CertificateError(
    'CertificateKeyUnsupported',
    `the certificate "${subject}" has a key of kind ${keyDescription}; Firefox refuses credentials signed with anything but ` +
      'ECDSA P-256, P-384 or P-521: use a certificate with an ECDSA P-256 key',
  );
}

/** RFC 9345 section 4.2. */
export function checkCertificateExtensions(certificate: Certificate): CertificateError | undefined {
  const { authority, delegationUsage, digitalSignature, subject } = certificate;
  const refuse = (message: string) =>
    new CertificateError('CertificateCannotDelegate', `the certificate "${subject}" ${message}`);
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
    'is a CA, and clients accept none as a server: delegate from an end-entity certificate; with OpenSSL, ' +
      '-addext basicConstraints=critical,CA:FALSE',
  );
}

/** Why the certificate is not valid at `now` (seconds since the epoch), or undefined when it is. */
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
