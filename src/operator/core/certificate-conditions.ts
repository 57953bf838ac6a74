/** What the status says of a certificate's future: that it expires too soon, and whether the next one fits. Pure. */
import { checkCertificateUsage, type DelegationCertificate } from '../../credential/delegation-certificate.ts';
import type { Usage } from '../../credential/scheme.ts';
import type { Condition } from '../../kubernetes/objects.ts';
import { formatRfc3339 } from '../../text/rfc3339.ts';
import type { CertificateState } from './certificate-state.ts';

type Report = Pick<Condition, 'status' | 'reason' | 'message'>;
type Lifespan = Pick<DelegationCertificate, 'notBefore' | 'notAfter'>;

const DAY = 86_400;

/**
 * From when the owner is warned, in seconds since the epoch: three lifetimes before the end, and a week at least, so that renewals still
 * have all of their lifetime; but never in the first two thirds of a certificate's own life, for those that live for days.
 */
export function warnsAt({ notAfter, notBefore }: Lifespan, lifetimeSeconds: number): number {
  return Math.ceil(notAfter - Math.min((notAfter - notBefore) / 3, Math.max(3 * lifetimeSeconds, 7 * DAY)));
}

export function expiring(certificate: Lifespan, lifetimeSeconds: number, now: number): Report | undefined {
  if (now < warnsAt(certificate, lifetimeSeconds)) return undefined;
  return {
    status: 'True',
    reason: 'CertificateExpiring',
    message:
      `the certificate expires at ${formatRfc3339(certificate.notAfter)}: one lifetime before that, credentials begin to get shorter, and after it none can be ` +
      'issued; renew the certificate and replace tls.crt',
  };
}

/** Undefined where none is announced. */
export function nextCertificate(state: CertificateState, usage: Usage): Report | undefined {
  if (state.kind !== 'usable' || state.next === undefined) return undefined;
  const { next } = state;
  if (next.kind === 'unfit') return unfit(next.reason, next.message);
  const { certificate } = next;
  const misfit = checkCertificateUsage(certificate, usage);
  if (misfit !== undefined) return unfit(misfit.code, misfit.message);
  const from = formatRfc3339(Math.max(certificate.notBefore, 0));
  const until = formatRfc3339(state.certificate.notAfter);
  return {
    status: 'True',
    reason: 'Fits',
    message: `tls.next.crt (SHA-256 ${certificate.sha256}) fits: put it into tls.crt between ${from} and ${until}, and every credential is re-issued`,
  };
}

function unfit(reason: string, message: string): Report {
  return { status: 'False', reason, message: `tls.next.crt does not fit: ${message}` };
}
