/**
 * A certificate that its owner announces beforehand, as `tls.next.crt` (and `tls.next.key`, where it has a new key) beside the
 * one in use: it is checked as it will be when it is put into use, and nothing is issued from it before.
 */
import { PEM_LIMITS } from '../../credential/certificate.ts';
import { type DelegationCertificate, readDelegationCertificate } from '../../credential/delegation-certificate.ts';
import { CertificateError } from '../../credential/errors.ts';
import { assertSignerMatches, signerFromPem } from '../../credential/signer.ts';
import { formatRfc3339 } from '../../text/rfc3339.ts';

export const NEXT_CERTIFICATE_KEY = 'tls.next.crt';
export const NEXT_KEY_KEY = 'tls.next.key';

export type NextCertificate =
  | { readonly kind: 'fits'; readonly certificate: DelegationCertificate }
  | { readonly kind: 'unfit'; readonly reason: string; readonly message: string };

export interface NextCertificateInput {
  /** Undefined: none is announced. */
  readonly chainPem: string | undefined;
  /** Undefined: it has the key of the current one. */
  readonly keyPem: string | undefined;
  readonly current: DelegationCertificate;
  readonly currentKeyPem: string;
}

export async function checkNextCertificate(
  { chainPem, current, currentKeyPem, keyPem = currentKeyPem }: NextCertificateInput,
  signal: AbortSignal,
): Promise<NextCertificate | undefined> {
  if (chainPem === undefined) return undefined;
  if (chainPem.length > PEM_LIMITS.maxBytes || keyPem.length > PEM_LIMITS.maxBytes) {
    return unfit(
      'CertificateInvalid',
      `it is larger than ${PEM_LIMITS.maxBytes} bytes: keep only the leaf and its chain`,
    );
  }
  try {
    const certificate = readDelegationCertificate(chainPem);
    if (certificate.sha256 === current.sha256) return undefined;
    await assertSignerMatches(signerFromPem(keyPem), certificate, { signal });
    if (certificate.notBefore < current.notAfter) return { kind: 'fits', certificate };
    const [from, until] = [formatRfc3339(certificate.notBefore), formatRfc3339(current.notAfter)];
    return unfit(
      'CertificateInvalid',
      `it is valid from ${from}, after the current one expires at ${until}: get one that overlaps`,
    );
  } catch (error) {
    if (error instanceof CertificateError) return unfit(error.code, error.message);
    // It may come from a parser that has seen a key: only its kind is shown.
    return unfit('CertificateInvalid', `it cannot be read (${error instanceof Error ? error.name : 'unknown error'})`);
  }
}

function unfit(reason: string, message: string): NextCertificate {
  return { kind: 'unfit', reason, message };
}
