/** What the condition `Serving` and an Event say of an audit. Pure. */
import type { ConditionUpdate } from '../kubernetes/conditions.ts';
import { printable } from '../text/printable.ts';
import type { AuditEntry, ResourceSummary } from './result.ts';
import { type AuditState, FINDINGS, type FindingState, isFinding } from './verdict.ts';

export const SERVING = 'Serving';

/** The same word in the condition, the Event and the log. */
export const FINDING_REASONS = {
  invalid: 'ServedCredentialInvalid',
  'wrong-leaf': 'ServedCertificateOutdated',
  other: 'ServedCredentialUnknown',
  stale: 'ServedCredentialStale',
  none: 'NoCredentialServed',
  'no-secret': 'NoSecret',
  unreachable: 'ServerUnreachable',
  'no-port': 'PortUnknown',
} as const satisfies Record<FindingState, string>;

const MAX_SHOWN = 3;
const MAX_MESSAGE_LENGTH = 4096;

/** `entries`: of this resource, findings first. The message has no time of its own: an audit that finds the same writes nothing. */
export function servingCondition(summary: ResourceSummary, entries: readonly AuditEntry[]): ConditionUpdate {
  const observedGeneration = summary.resource.metadata.generation;
  const is = (status: 'True' | 'False' | 'Unknown', reason: string, message: string): ConditionUpdate => ({
    type: SERVING,
    status,
    reason,
    message: printable(message, MAX_MESSAGE_LENGTH),
    observedGeneration,
  });
  const found = entries.filter(({ verdict }) => isFinding(verdict.state));
  const worst = FINDINGS.find((state) => found.some(({ verdict }) => verdict.state === state));
  if (worst === undefined) {
    const serving = (summary.states.current ?? 0) + (summary.states.updating ?? 0);
    if (serving === 0) return is('Unknown', 'NoServers', 'there is no running pod to audit');
    return is('True', 'Current', `${count(serving)} the credential of its Secret`);
  }
  const shown = found.slice(0, MAX_SHOWN).map(({ subject, verdict }) => `${subject.pod.name}: ${verdict.message}`);
  const more = found.length > shown.length ? `; and ${found.length - shown.length} more: dcred audit` : '';
  return is('False', FINDING_REASONS[worst], `${found.length} of ${summary.pods} servers: ${shown.join('; ')}${more}`);
}

function count(servers: number): string {
  return servers === 1 ? '1 server serves' : `each of ${servers} servers serves`;
}

export interface PodNotice {
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly note: string;
}

/**
 * The Event that a pod gets, where its state has changed: a Warning for a finding, a Normal one when it is over. None for a missing
 * Secret: the operator reports that itself.
 */
export function podNotice(entry: AuditEntry, before: AuditState | undefined): PodNotice | undefined {
  const { state, message } = entry.verdict;
  if (state === before || state === 'no-secret') return undefined;
  const note = `DelegatedCredential ${entry.subject.resource.metadata.name}: ${message}`;
  if (isFinding(state)) return { type: 'Warning', reason: FINDING_REASONS[state], note };
  if (state !== 'current' || before === undefined || !isFinding(before)) return undefined;
  return { type: 'Normal', reason: 'ServedCredentialCurrent', note };
}
