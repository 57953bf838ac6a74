/**
 * The independent checker: what must be true of a namespace that dcred serves, judged from what the API server holds.
 *
 * `always` holds at every moment of every run; the rest holds once the operator has had time to recover.
 */
import type { ApiObject } from './admin.ts';
import { certificatesOf, checkCredential } from './credential-check.ts';
import { type ObservedResource, readResource, secretNameFor, selectedBy } from './selection.ts';

/** Everything in one namespace that the rules check. */
export interface Observation {
  readonly namespace: string;
  readonly pods: readonly ApiObject[];
  readonly secrets: readonly ApiObject[];
  readonly resources: readonly ApiObject[];
  /** Seconds since the epoch, by the operator's clock. */
  readonly now: number;
  /** Secrets that dcred must not touch: name to a fingerprint of what they were. */
  readonly foreign: ReadonlyMap<string, string>;
}

export type Rule =
  | 'unserved'
  | 'several'
  | 'invalid'
  | 'other-leaf'
  | 'other-chain'
  | 'overdue'
  | 'untrue-annotation'
  | 'orphan'
  /** Its pod is not selected any more: deleted after a wait. */
  | 'unselected'
  | 'foreign-changed'
  | 'status'
  /** The API server could not be read. */
  | 'unreachable';

export interface Violation {
  readonly rule: Rule;
  readonly subject: string;
  readonly detail: string;
}

const ALWAYS: ReadonlySet<Rule> = new Set(['invalid', 'foreign-changed']);

/** Whether this is wrong at any moment, and not only once the operator has had time to recover. */
export function mustAlwaysHold({ rule }: Violation): boolean {
  return ALWAYS.has(rule);
}

export function violations(observation: Observation): readonly Violation[] {
  const issued = observation.secrets.filter(isIssued);
  return [
    ...observation.resources.flatMap((raw) => servedViolations(observation, issued, readResource(raw))),
    ...issued.flatMap((secret) => secretViolations(observation, secret)),
    ...foreignViolations(observation),
    ...observation.resources.flatMap((raw) => statusViolations(observation, issued, readResource(raw))),
  ];
}

/** One line each, for messages. */
export function describe(found: readonly Violation[]): string {
  return found.map(({ detail, rule, subject }) => `${rule}: ${subject}: ${detail}`).join('\n');
}

/** What tells two states of a foreign Secret apart: bytes, metadata and version. */
export function fingerprint({ data, metadata, type }: ApiObject): string {
  return JSON.stringify([metadata.uid, metadata.resourceVersion, type, data, metadata.labels, metadata.annotations]);
}

export function isIssued({ metadata }: ApiObject): boolean {
  const { labels = {}, ownerReferences = [] } = metadata;
  return (
    labels['app.kubernetes.io/managed-by'] === 'dcred' &&
    labels['dcred.dev/delegated-credential'] !== undefined &&
    ownerReferences.some(({ kind }) => kind === 'Pod')
  );
}

/** Neither completed nor terminating. */
function isLive({ metadata, status }: ApiObject): boolean {
  const { phase } = (status ?? {}) as { readonly phase?: string };
  return metadata.deletionTimestamp === undefined && phase !== 'Succeeded' && phase !== 'Failed';
}

function ownerOf({ metadata }: ApiObject): string | undefined {
  return metadata.ownerReferences?.find(({ kind }) => kind === 'Pod')?.uid;
}

function resourceOf({ metadata }: ApiObject): string {
  return metadata.labels?.['dcred.dev/delegated-credential'] ?? '';
}

/** The chain that every credential of a resource stands on now; undefined where there is none to use. */
function currentChain({ secrets }: Observation, { certificateName, certificateNamespace }: ObservedResource) {
  if (certificateNamespace !== undefined) return undefined;
  const secret = secrets.find(({ metadata }) => metadata.name === certificateName);
  if (secret === undefined) return undefined;
  const { 'tls.crt': certificate = '', 'tls.key': key = '' } = (secret['data'] ?? {}) as Record<string, string>;
  const chain = certificatesOf(Buffer.from(certificate, 'base64').toString());
  return chain.length === 0 || key === '' ? undefined : chain;
}

/** Whether another owner's Secret keeps the pod from being served. */
function isClash({ secrets }: Observation, name: string, podUid: string): boolean {
  const holder = secrets.find(({ metadata }) => metadata.name === name);
  return holder !== undefined && !(isIssued(holder) && ownerOf(holder) === podUid);
}

function servedViolations(
  observation: Observation,
  issued: readonly ApiObject[],
  resource: ObservedResource,
): readonly Violation[] {
  if (resource.suspended) return [];
  const chain = currentChain(observation, resource);
  return observation.pods
    .filter((pod) => isLive(pod) && selectedBy(resource, pod))
    .flatMap((pod): readonly Violation[] => {
      const { name, uid } = pod.metadata;
      const subject = `pod ${observation.namespace}/${name} of ${resource.name}`;
      const own = issued.filter((secret) => ownerOf(secret) === uid && resourceOf(secret) === resource.name);
      const wanted = secretNameFor(resource, pod);
      if (own.length > 1) {
        const names = own.map(({ metadata }) => metadata.name).join(', ');
        return [{ rule: 'several', subject, detail: `expected one Secret, found ${names}` }];
      }
      const [secret] = own;
      if (secret !== undefined && secret.metadata.name === wanted) {
        if (chain === undefined) return [];
        return [
          ...chainViolations(secret, chain, subject),
          ...overdueViolations(observation, resource, secret, subject),
        ];
      }
      if (chain === undefined || wanted === undefined || isClash(observation, wanted, uid)) return [];
      const found = secret === undefined ? 'none' : `"${secret.metadata.name}"`;
      return [{ rule: 'unserved', subject, detail: `expected Secret "${wanted}", found ${found}` }];
    });
}

function chainViolations(secret: ApiObject, chain: readonly Buffer[], subject: string): readonly Violation[] {
  const { 'tls.crt': pem = '' } = (secret['data'] ?? {}) as Record<string, string>;
  const published = certificatesOf(Buffer.from(pem, 'base64').toString());
  if (published[0] === undefined || chain[0] === undefined || !published[0].equals(chain[0])) {
    return [{ rule: 'other-leaf', subject, detail: 'tls.crt is not the current leaf' }];
  }
  if (Buffer.concat(published).equals(Buffer.concat(chain))) return [];
  return [{ rule: 'other-chain', subject, detail: 'tls.crt has the current leaf and another chain' }];
}

/** A renewal that should have been made: by its own annotation, or because a user requested it. */
function overdueViolations(
  { now }: Observation,
  { raw }: ObservedResource,
  { metadata: { annotations = {} } }: ApiObject,
  subject: string,
): readonly Violation[] {
  const seconds = (text: string | undefined) => Date.parse(text ?? '') / 1000;
  const issuedAt = seconds(annotations['dcred.dev/issued-at']);
  const requested = Math.ceil(seconds(raw.metadata.annotations?.['dcred.dev/renew-requested-at']));
  const renewAt = seconds(annotations['dcred.dev/renew-at']);
  const found: Violation[] = [];
  if (renewAt <= now) found.push({ rule: 'overdue', subject, detail: 'its renewal was due and has not been made' });
  if (requested <= now && issuedAt < requested) {
    found.push({ rule: 'overdue', subject, detail: 'a renewal was requested and has not been made' });
  }
  return found;
}

/** For every issued Secret, whichever pod it is for: the credential is good, the annotations are true, and the pod exists. */
function secretViolations(observation: Observation, secret: ApiObject): readonly Violation[] {
  const { annotations = {}, name } = secret.metadata;
  const subject = `Secret ${observation.namespace}/${name}`;
  return [
    ...orphanViolations(observation, secret, subject),
    ...credentialViolations(secret, observation.now).map((problem) => ({
      rule: problem.startsWith('annotation ') ? ('untrue-annotation' as const) : ('invalid' as const),
      subject,
      detail: problem,
    })),
    ...(annotations['dcred.dev/pod-uid'] === ownerOf(secret)
      ? []
      : [{ rule: 'untrue-annotation' as const, subject, detail: 'annotation pod-uid is not its owner' }]),
  ];
}

/** What a reader of this one version of a Secret would find wrong. */
export function credentialViolations(secret: ApiObject, now: number): readonly string[] {
  const { annotations = {} } = secret.metadata;
  const usage = annotations['dcred.dev/usage'] === 'Client' ? 'Client' : 'Server';
  const keyAlgorithm = annotations['dcred.dev/key-algorithm'] ?? '';
  const data = (secret['data'] ?? {}) as Record<string, string>;
  const { expiresAt, leafSha256, problems } = checkCredential({ data, usage, keyAlgorithm, now });
  if (expiresAt === undefined) return problems;
  const stated = Date.parse(annotations['dcred.dev/expires-at'] ?? '') / 1000;
  return [
    ...problems,
    ...(stated === expiresAt ? [] : ['annotation expires-at is not when the credential expires']),
    ...(annotations['dcred.dev/certificate-sha256'] === leafSha256
      ? []
      : ['annotation certificate-sha256 is not its leaf']),
  ];
}

function orphanViolations({ pods, resources }: Observation, secret: ApiObject, subject: string): readonly Violation[] {
  const raw = resources.find(({ metadata }) => metadata.name === resourceOf(secret));
  if (raw === undefined) return [{ rule: 'orphan', subject, detail: `resource "${resourceOf(secret)}" is gone` }];
  const resource = readResource(raw);
  if (resource.suspended) return [];
  const pod = pods.find(({ metadata }) => metadata.uid === ownerOf(secret));
  if (pod === undefined) return [{ rule: 'orphan', subject, detail: 'its pod is gone' }];
  if (pod.metadata.deletionTimestamp !== undefined) return [];
  if (!isLive(pod)) return [{ rule: 'orphan', subject, detail: 'its pod has ended' }];
  if (selectedBy(resource, pod)) return [];
  return [{ rule: 'unselected', subject, detail: `its pod is not selected by ${resource.name}` }];
}

function foreignViolations({ foreign, namespace, secrets }: Observation): readonly Violation[] {
  return [...foreign].flatMap(([name, before]): readonly Violation[] => {
    const now = secrets.find(({ metadata }) => metadata.name === name);
    if (now !== undefined && fingerprint(now) === before) return [];
    const detail = now === undefined ? 'it is gone' : 'it was changed';
    return [{ rule: 'foreign-changed', subject: `Secret ${namespace}/${name}`, detail }];
  });
}

interface StatusShape {
  readonly observedGeneration?: number;
  readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason: string }[];
  readonly pods?: { readonly selected?: number; readonly issued?: number; readonly failed?: number };
}

/** The counts and the summary, once the pods are served; the rest of the status has its own tests. */
function statusViolations(
  observation: Observation,
  issued: readonly ApiObject[],
  resource: ObservedResource,
): readonly Violation[] {
  if (resource.suspended || currentChain(observation, resource) === undefined) return [];
  const subject = `resource ${observation.namespace}/${resource.name}`;
  const selected = observation.pods.filter((pod) => isLive(pod) && selectedBy(resource, pod));
  if (observation.pods.some(({ metadata }) => metadata.deletionTimestamp !== undefined)) return [];
  const hasOwn = (pod: ApiObject, name: string | undefined) =>
    issued.some(
      (secret) =>
        ownerOf(secret) === pod.metadata.uid && resourceOf(secret) === resource.name && secret.metadata.name === name,
    );
  const served = selected.filter((pod) => hasOwn(pod, secretNameFor(resource, pod)));
  // A user must change the name of these; a Secret under an earlier name stays, and does not count.
  const hopeless = selected.filter((pod) => {
    const wanted = secretNameFor(resource, pod);
    return wanted === undefined || isClash(observation, wanted, pod.metadata.uid);
  });
  if (served.length + hopeless.length < selected.length) return [];
  const status = (resource.raw['status'] ?? {}) as StatusShape;
  const ready = status.conditions?.find(({ type }) => type === 'Ready');
  const reason = hopeless.length > 0 ? 'PodsFailed' : selected.length === 0 ? 'NoPods' : 'Issued';
  const expected = `${reason} ${served.length}/${selected.length} generation ${resource.generation}`;
  const { issued: count = 0, selected: of = 0 } = status.pods ?? {};
  const found = `${ready?.reason} ${count}/${of} generation ${status.observedGeneration}`;
  return found === expected ? [] : [{ rule: 'status', subject, detail: `expected ${expected}, found ${found}` }];
}
