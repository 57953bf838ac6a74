/** What the report's script reads: rows of a few numbers and names, so that ten thousand pods take a megabyte. Pure. */
import { printable } from '../../text/printable.ts';
import type { AuditEntry, AuditResult } from '../result.ts';
import { type AuditState, FINDINGS, isFinding } from '../verdict.ts';

const STATES: readonly AuditState[] = [...FINDINGS, 'updating', 'not-running', 'current'];

/** How a state is coloured. */
function kindOf(state: AuditState): 'bad' | 'warn' | 'idle' | 'good' {
  if (isFinding(state)) return 'bad';
  return state === 'updating' ? 'warn' : state === 'current' ? 'good' : 'idle';
}

const MEANING: Readonly<Partial<Record<AuditState, string>>> = {
  current: "serves the Secret's credential",
  'not-running': 'the pod is not running yet',
};

/** Times in seconds since the epoch; 0: none. A pod's columns are in the order that script.ts names. */
export function reportData(result: AuditResult) {
  const names: string[] = [];
  const indexes = new Map<string, number>();
  const indexOf = (name: string): number => {
    const known = indexes.get(name);
    if (known !== undefined) return known;
    indexes.set(name, names.length);
    return names.push(printable(name)) - 1;
  };
  const pods = result.entries.map((entry) => row(entry, indexOf));
  const ends = result.resources.flatMap(({ leaves }) => leaves.map(({ notAfter }) => notAfter));
  return {
    now: result.finishedAt,
    states: STATES.map((name) => ({ name, kind: kindOf(name), meaning: MEANING[name] ?? '' })),
    names,
    pods,
    leafEnds: [...new Set(ends)].sort((a, b) => a - b),
  };
}

function row(
  { served, subject, verdict }: AuditEntry,
  indexOf: (name: string) => number,
): readonly (number | string)[] {
  const { endpoint, facts, pod, resource } = subject;
  return [
    indexOf(pod.namespace),
    indexOf(resource.metadata.name),
    printable(pod.name),
    STATES.indexOf(verdict.state),
    pod.createdAt,
    facts?.issuedAt ?? 0,
    facts?.renewAt ?? 0,
    facts?.expiresAt ?? 0,
    served?.credential?.expiresAt ?? 0,
    endpoint.known ? endpoint.port : 0,
    MEANING[verdict.state] === undefined ? printable(verdict.message, 1024) : '',
  ];
}
