/** What an audit found, by pod and by resource. Pure. Times in seconds since the epoch. */
import type { DelegatedCredentialResource } from '../api/delegated-credential.ts';
import type { UnreadableResource } from '../api/read.ts';
import { type AuditSubject, auditable } from './subject.ts';
import { type AuditState, FINDINGS, isFinding, type Served, type Verdict } from './verdict.ts';

export interface AuditEntry {
  readonly subject: AuditSubject;
  readonly verdict: Verdict;
  /** What the handshake showed, where there was one. */
  readonly served: Served | undefined;
}

export interface ResourceSummary {
  readonly namespace: string;
  readonly name: string;
  /** Of the resource as it was read. */
  readonly resource: DelegatedCredentialResource;
  readonly pods: number;
  readonly findings: number;
  readonly states: Readonly<Partial<Record<AuditState, number>>>;
  /** Every leaf that is served, the most frequent first. More than one: the leaf is not the same everywhere. */
  readonly leaves: readonly { readonly sha256: string; readonly pods: number; readonly notAfter: number }[];
}

export interface AuditResult {
  readonly startedAt: number;
  readonly finishedAt: number;
  readonly resources: readonly ResourceSummary[];
  /** Findings first, the most urgent before the others; then by name. */
  readonly entries: readonly AuditEntry[];
  /** Of clients, or with a spec that cannot be read: `namespace/name`. */
  readonly notAudited: readonly string[];
  readonly findings: number;
}

export interface ResultInput {
  readonly resources: readonly (DelegatedCredentialResource | UnreadableResource)[];
  readonly entries: readonly AuditEntry[];
  readonly startedAt: number;
  readonly finishedAt: number;
}

export function auditResult({ entries, finishedAt, resources, startedAt }: ResultInput): AuditResult {
  const sorted = [...entries].sort(
    (a, b) => urgency(a.verdict.state) - urgency(b.verdict.state) || compare(sortKey(a), sortKey(b)),
  );
  const ofResource = Map.groupBy(sorted, ({ subject }) => idOf(subject.resource));
  const audited = new Set<unknown>(auditable(resources));
  return {
    startedAt,
    finishedAt,
    resources: auditable(resources).map((resource) => summarise(resource, ofResource.get(idOf(resource)) ?? [])),
    entries: sorted,
    notAudited: resources.filter((one) => !audited.has(one)).map(idOf),
    findings: sorted.filter(({ verdict }) => isFinding(verdict.state)).length,
  };
}

function summarise(resource: DelegatedCredentialResource, entries: readonly AuditEntry[]): ResourceSummary {
  const states: Partial<Record<AuditState, number>> = {};
  const leaves = new Map<string, { sha256: string; pods: number; notAfter: number }>();
  for (const { served, verdict } of entries) {
    states[verdict.state] = (states[verdict.state] ?? 0) + 1;
    if (served === undefined) continue;
    const { certificateNotAfter: notAfter, certificateSha256: sha256 } = served;
    const leaf = leaves.get(sha256);
    if (leaf === undefined) leaves.set(sha256, { sha256, pods: 1, notAfter });
    else leaf.pods += 1;
  }
  return {
    namespace: resource.metadata.namespace,
    name: resource.metadata.name,
    resource,
    pods: entries.length,
    findings: entries.filter(({ verdict }) => isFinding(verdict.state)).length,
    states,
    leaves: [...leaves.values()].sort((a, b) => b.pods - a.pods || compare(a.sha256, b.sha256)),
  };
}

const ORDER: readonly AuditState[] = [...FINDINGS, 'updating', 'not-running', 'current'];

function urgency(state: AuditState): number {
  return ORDER.indexOf(state);
}

function sortKey({ subject }: AuditEntry): string {
  return `${idOf(subject.resource)}/${subject.pod.name}`;
}

function idOf({ metadata }: Pick<DelegatedCredentialResource, 'metadata'>): string {
  return `${metadata.namespace}/${metadata.name}`;
}

/** By code unit: twenty times as fast as a locale's order, which names of pods do not need. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
