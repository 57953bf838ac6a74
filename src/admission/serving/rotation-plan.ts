/**
 * What a replica does about the serving certificate: a pure function of what it sees. All replicas do the same at the same time;
 * whoever is first wins, for every write names the version that it is over.
 *
 *     Secret: a certificate that is missing, unusable or due ---------> issue (into the Secret, for everybody)
 *     bundle: lacks the Secret's authority, or the one being served --> trust (the API server learns of it)
 *     serving: something older than the Secret's, and the API server has had time to learn --> serve
 *
 * So no replica serves a leaf before its authority is trusted, and what was served before is trusted until it ends.
 */
import { SERVING_CERTIFICATE_TYPE } from '../../api/keys.ts';
import type { ServingCertificate } from './serving-certificate.ts';

export type RotationReason = 'Missing' | 'Unusable' | 'RenewalDue';

export type SecretState =
  | { readonly kind: 'missing' }
  /** Of another type: somebody else's. */
  | { readonly kind: 'foreign' }
  | { readonly kind: 'unusable'; readonly problem: string }
  | { readonly kind: 'usable'; readonly certificate: ServingCertificate };

export interface Observed {
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly secret: SecretState;
  readonly serving: ServingCertificate | undefined;
  /** Ids of authorities in the bundle, and for how many milliseconds this replica has seen them there. Undefined: no configuration. */
  readonly trusted: ReadonlyMap<string, number> | undefined;
  /** How long the API server may take to learn of a changed bundle. */
  readonly trustDelayMs: number;
}

export interface Decision {
  readonly issue?: RotationReason;
  /** To be in the bundle, all of them. */
  readonly trust?: readonly ServingCertificate[];
  readonly serve?: ServingCertificate;
  /** Look again then, in milliseconds since the epoch. */
  readonly wakeAt?: number;
  /** Why the API server cannot rely on this replica, and what to do. */
  readonly problem?: string;
}

export function decide(observed: Observed): Decision {
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

function reasonToIssue({ now, secret }: Observed): RotationReason | undefined {
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

/** Whether the certificate in the Secret is to be served now, or when. */
function nextToServe(
  { now, trusted, trustDelayMs }: Observed,
  serving: ServingCertificate | undefined,
  candidate: ServingCertificate,
): { readonly now: true; readonly at?: undefined } | { readonly now: false; readonly at?: number } {
  if (serving?.certificatePem === candidate.certificatePem) return { now: false };
  // Nothing to lose: no handshake succeeds as it is.
  if (serving === undefined) return { now: true };
  const seenMs = trusted?.get(candidate.authorityId);
  if (seenMs === undefined) return { now: false };
  if (seenMs >= trustDelayMs) return { now: true };
  return { now: false, at: now + trustDelayMs - seenMs };
}

function problemOf(
  { secret, trusted, trustDelayMs }: Observed,
  served: ServingCertificate | undefined,
): string | undefined {
  if (served === undefined) {
    return secret.kind === 'foreign'
      ? `the Secret for the serving certificate exists and is not of type ${SERVING_CERTIFICATE_TYPE}: delete it, or choose another name by --cert-secret`
      : 'there is no serving certificate yet';
  }
  if (trusted === undefined)
    return 'the MutatingWebhookConfiguration does not exist: create it, or name it by --webhook-configuration';
  const seenMs = trusted.get(served.authorityId);
  if (seenMs === undefined) return 'the API server does not trust the serving certificate yet';
  // Where it is the only one, no other replica could be asked in the meantime, and waiting would gain nothing.
  if (trusted.size > 1 && seenMs < trustDelayMs) return 'the API server has just been told of the serving certificate';
  return undefined;
}
