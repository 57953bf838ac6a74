/**
 * What a replica does about the serving certificate: a pure function of what it observes. All replicas run it; the first write
 * wins, because every write is conditional on the resourceVersion that was read.
 *
 *     Secret: certificate missing, unusable or due for renewal -------> issue (write it to the shared Secret)
 *     caBundle: lacks the CA of the Secret's certificate, or of the one being served --> trust (add it)
 *     serving: older than the Secret's, and the API server has had time to load the CA --> serve
 *
 * So no replica serves a leaf before its CA is trusted, and a CA stays trusted until the leaf it signed expires.
 */
import { SERVING_CERTIFICATE_TYPE } from '../../api/keys.ts';
import type { ServingCertificate } from './serving-certificate.ts';

export type RotationReason = 'Missing' | 'Unusable' | 'RenewalDue';

export type SecretState =
  | { readonly kind: 'missing' }
  /** Of another type: not ours. */
  | { readonly kind: 'foreign' }
  | { readonly kind: 'unusable'; readonly problem: string }
  | { readonly kind: 'usable'; readonly certificate: ServingCertificate };

export interface ObservedRotation {
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly secret: SecretState;
  readonly serving: ServingCertificate | undefined;
  /** CAs in the bundle by id, with the milliseconds since this replica first saw them there. Undefined: no configuration. */
  readonly trusted: ReadonlyMap<string, number> | undefined;
  /** How long the API server may take to load a changed bundle. */
  readonly trustDelayMs: number;
}

export interface RotationPlan {
  readonly issue?: RotationReason;
  /** CAs that the bundle must contain. */
  readonly trust?: readonly ServingCertificate[];
  readonly serve?: ServingCertificate;
  /** Decide again at this time, in milliseconds since the epoch. */
  readonly wakeAt?: number;
  /** Why this replica is not ready, and what to do. */
  readonly problem?: string;
}

export function planRotation(observed: ObservedRotation): RotationPlan {
  const { now, secret, trusted } = observed;
  const serving = alive(observed.serving, now);
  const candidate = secret.kind === 'usable' ? alive(secret.certificate, now) : undefined;
  const issue = reasonToIssue(observed);
  const next = candidate === undefined ? undefined : nextToServe(observed, serving, candidate);
  const served = next?.now === true ? candidate : serving;
  const needed = [
    ...new Map([candidate, serving].flatMap((one) => (one === undefined ? [] : [[one.authorityId, one]]))).values(),
  ];
  const isTrusted = trusted === undefined || needed.every(({ authorityId }) => trusted.has(authorityId));
  const problem = problemOf(observed, served);
  const moments = [candidate?.renewAt, served?.notAfter, next?.at].filter((at) => at !== undefined && at > now);
  return {
    ...(issue === undefined ? {} : { issue }),
    ...(isTrusted ? {} : { trust: needed }),
    ...(next?.now === true && candidate !== undefined ? { serve: candidate } : {}),
    ...(moments.length === 0 ? {} : { wakeAt: Math.min(...(moments as number[])) }),
    ...(problem === undefined ? {} : { problem }),
  };
}

function alive(certificate: ServingCertificate | undefined, now: number): ServingCertificate | undefined {
  return certificate === undefined || certificate.notAfter <= now ? undefined : certificate;
}

function reasonToIssue({ now, secret }: ObservedRotation): RotationReason | undefined {
  switch (secret.kind) {
    case 'foreign':
      return undefined;
    case 'missing':
      return 'Missing';
    case 'unusable':
      return 'Unusable';
    case 'usable':
      return now >= secret.certificate.renewAt ? 'RenewalDue' : undefined;
  }
}

/** Whether to serve the certificate in the Secret now, or when. */
function nextToServe(
  { now, trusted, trustDelayMs }: ObservedRotation,
  serving: ServingCertificate | undefined,
  candidate: ServingCertificate,
): { readonly now: true; readonly at?: undefined } | { readonly now: false; readonly at?: number } {
  if (serving?.certificatePem === candidate.certificatePem) return { now: false };
  // No handshake succeeds without one, so there is nothing to wait for.
  if (serving === undefined) return { now: true };
  const seenMs = trusted?.get(candidate.authorityId);
  if (seenMs === undefined) return { now: false };
  if (seenMs >= trustDelayMs) return { now: true };
  return { now: false, at: now + trustDelayMs - seenMs };
}

function problemOf(
  { secret, trusted, trustDelayMs }: ObservedRotation,
  served: ServingCertificate | undefined,
): string | undefined {
  if (served === undefined) {
    return secret.kind === 'foreign'
      ? `the Secret for the serving certificate exists with a type other than ${SERVING_CERTIFICATE_TYPE}: delete it, or set another name with --cert-secret`
      : 'no serving certificate yet';
  }
  if (trusted === undefined)
    return 'the MutatingWebhookConfiguration does not exist: create it, or set its name with --webhook-configuration';
  const seenMs = trusted.get(served.authorityId);
  if (seenMs === undefined)
    return 'the caBundle of the MutatingWebhookConfiguration does not contain the CA of the serving certificate yet';
  // Where it is the only CA, no other replica can answer meanwhile, so waiting gains nothing.
  if (trusted.size > 1 && seenMs < trustDelayMs) return 'waiting for the API server to load the new caBundle';
  return undefined;
}
