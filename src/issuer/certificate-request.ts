/** cert-manager's CertificateRequest, as far as an external issuer reads and writes it. Pure. */
import type { Condition, KubernetesObject } from '../kubernetes/objects.ts';
import type { ResourceType } from '../kubernetes/resource-type.ts';
import { formatRfc3339 } from '../text/rfc3339.ts';
import type { RequestTerms } from './policy.ts';

export const CERTIFICATE_REQUESTS = {
  group: 'cert-manager.io',
  version: 'v1',
  plural: 'certificaterequests',
  kind: 'CertificateRequest',
  namespaced: true,
} as const satisfies ResourceType;

export interface CertificateRequest {
  readonly namespace: string;
  readonly name: string;
  readonly resourceVersion: string;
  readonly issuer: { readonly kind: string; readonly name: string };
  readonly terms: RequestTerms;
  /** PEM; empty where it is none. */
  readonly csrPem: string;
  readonly conditions: readonly Condition[];
  readonly hasCertificate: boolean;
}

type Raw = KubernetesObject<{
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: { readonly conditions?: readonly Condition[]; readonly certificate?: unknown };
}>;

/** Longer than any request: base64 of 64 KiB. */
const MAX_REQUEST_LENGTH = 90_000;

/** Undefined: it is for an issuer of another group. */
export function readCertificateRequest(raw: KubernetesObject, group: string): CertificateRequest | undefined {
  const { metadata, spec = {}, status = {} } = raw as Raw;
  const issuer = (spec['issuerRef'] ?? {}) as {
    readonly group?: unknown;
    readonly kind?: unknown;
    readonly name?: unknown;
  };
  if (issuer.group !== group) return undefined;
  const { duration, isCA, request, usages } = spec;
  return {
    namespace: metadata.namespace ?? '',
    name: metadata.name ?? '',
    resourceVersion: metadata.resourceVersion ?? '',
    issuer: { kind: text(issuer.kind), name: text(issuer.name) },
    terms: {
      isCA: isCA === true,
      usages: Array.isArray(usages) ? usages.map(text) : [],
      durationSeconds: typeof duration === 'string' ? (parseGoDuration(duration) ?? 0) : undefined,
    },
    csrPem:
      typeof request === 'string' && request.length <= MAX_REQUEST_LENGTH
        ? Buffer.from(request, 'base64').toString('latin1')
        : '',
    conditions: Array.isArray(status.conditions) ? status.conditions : [],
    hasCertificate: typeof status.certificate === 'string' && status.certificate !== '',
  };
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

/** Go's `2160h0m0s`, in seconds. Undefined for what is none. */
export function parseGoDuration(text: string): number | undefined {
  const match = /^(?:([0-9]{1,7})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,11})(?:\.[0-9]{1,9})?s)?$/.exec(text);
  if (match === null || text === '') return undefined;
  const [, hours = '0', minutes = '0', seconds = '0'] = match;
  return Number(hours) * 3_600 + Number(minutes) * 60 + Number(seconds);
}

/**
 * - `finished`: issued, failed or denied already; nothing changes that.
 * - `waiting`: nobody has approved it yet.
 * - `denied`: to be marked as such, once.
 * - `approved`: to be signed.
 */
export type RequestStage = 'finished' | 'waiting' | 'denied' | 'approved';

/** By cert-manager's rules for external issuers. */
export function stageOf({
  conditions,
  hasCertificate,
}: Pick<CertificateRequest, 'conditions' | 'hasCertificate'>): RequestStage {
  const is = (type: string) => conditions.some((one) => one.type === type && one.status === 'True');
  const ready = conditions.find(({ type }) => type === 'Ready');
  if (hasCertificate || ready?.status === 'True' || ready?.reason === 'Failed' || ready?.reason === 'Denied')
    return 'finished';
  if (is('Denied')) return 'denied';
  return is('Approved') ? 'approved' : 'waiting';
}

export type RequestOutcome =
  | { readonly reason: 'Pending'; readonly message: string }
  | { readonly reason: 'Failed' | 'Denied'; readonly message: string }
  | { readonly reason: 'Issued'; readonly message: string; readonly certificatePem: string; readonly caPem: string };

/** The status to write; undefined where it says so already. Fails once: failureTime is never moved. `now` in seconds. */
export function statusFor(conditions: readonly Condition[], verdict: RequestOutcome, now: number): object | undefined {
  const status = verdict.reason === 'Issued' ? 'True' : 'False';
  const before = conditions.find(({ type }) => type === 'Ready');
  if (before?.status === status && before.reason === verdict.reason && before.message === verdict.message)
    return undefined;
  const lastTransitionTime = before?.status === status ? before.lastTransitionTime : formatRfc3339(now);
  const ready = { type: 'Ready', status, reason: verdict.reason, message: verdict.message, lastTransitionTime };
  const base64 = (pem: string) => Buffer.from(pem).toString('base64');
  return {
    conditions: [...conditions.filter(({ type }) => type !== 'Ready'), ready],
    ...(verdict.reason === 'Issued' ? { certificate: base64(verdict.certificatePem), ca: base64(verdict.caPem) } : {}),
    ...(verdict.reason === 'Failed' || verdict.reason === 'Denied' ? { failureTime: formatRfc3339(now) } : {}),
  };
}
