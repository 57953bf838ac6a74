/** One audit: every pod of every resource probed, at most so many at a time, and each finding confirmed before it is one. */

import type { AuditEntry, AuditResult } from './result.ts';
import { auditResult } from './result.ts';
import { type AuditSubject, auditSubjects, credentialHolders, type SubjectInput } from './subject.ts';
import { isFinding, NO_SECRET, type Probed, type SecretHolder, type Verdict, verdictOf } from './verdict.ts';

export interface AuditOptions {
  readonly input: SubjectInput;
  readonly probe: (subject: AuditSubject, signal: AbortSignal) => Promise<Probed>;
  /** See `collect.ts`. */
  readonly refresh: (subject: AuditSubject, signal: AbortSignal) => Promise<AuditSubject | undefined>;
  readonly concurrency: number;
  readonly graceSeconds: number;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Throws what `refresh` throws, and the signal's reason, once nothing of it runs any more. */
export async function audit(options: AuditOptions, signal: AbortSignal): Promise<AuditResult> {
  const { concurrency, input, now, onProgress } = options;
  const startedAt = Math.floor(now() / 1000);
  const subjects = auditSubjects(input);
  const holders = credentialHolders(input.secrets);
  const holderOf = (sha256: string) => holders.get(sha256);
  const entries: AuditEntry[] = [];
  let done = 0;
  const waiting = subjects.values();
  const failed = new AbortController();
  const until = AbortSignal.any([signal, failed.signal]);
  const work = async (): Promise<void> => {
    for (const subject of waiting) {
      const entry = await auditOne(subject, { ...options, holderOf }, until);
      until.throwIfAborted();
      if (entry !== undefined) entries.push(entry);
      done += 1;
      onProgress?.(done, subjects.length);
    }
  };
  const workers = Array.from({ length: Math.min(concurrency, subjects.length) }, work);
  try {
    await Promise.all(workers);
  } finally {
    // After a failure the others must not go on behind the back of whoever audits next, or has closed the client.
    failed.abort();
    await Promise.allSettled(workers);
  }
  return auditResult({ resources: input.resources, entries, startedAt, finishedAt: Math.floor(now() / 1000) });
}

type OneOptions = AuditOptions & { readonly holderOf: (sha256: string) => SecretHolder | undefined };

/** Undefined: the pod is gone. */
async function auditOne(
  subject: AuditSubject,
  options: OneOptions,
  signal: AbortSignal,
): Promise<AuditEntry | undefined> {
  const first = await examine(subject, options, signal);
  if (!isFinding(first.verdict.state)) return first;
  const current = await options.refresh(subject, signal);
  if (current === undefined) return undefined;
  if (isSame(current, subject)) return first;
  return await examine(current, options, signal);
}

/** What a server may serve depends on these. */
function isSame(a: AuditSubject, b: AuditSubject): boolean {
  return (
    a.facts?.issuedAt === b.facts?.issuedAt &&
    a.facts?.credentialSha256 === b.facts?.credentialSha256 &&
    a.pod.ip === b.pod.ip &&
    a.pod.running === b.pod.running
  );
}

async function examine(subject: AuditSubject, options: OneOptions, signal: AbortSignal): Promise<AuditEntry> {
  const { endpoint, facts, pod, resource } = subject;
  if (!pod.running || pod.ip === undefined) {
    return { subject, verdict: { state: 'not-running', message: 'the pod is not running yet' }, served: undefined };
  }
  if (facts === undefined) return { subject, verdict: NO_SECRET, served: undefined };
  if (!endpoint.known) {
    return { subject, verdict: { state: 'no-port', message: endpoint.message }, served: undefined };
  }
  const probed = await options.probe(subject, signal);
  const { graceSeconds, holderOf, now } = options;
  const expected = { facts, graceSeconds, holderOf, now: Math.floor(now() / 1000) };
  const own = { pod: `${pod.namespace}/${pod.name}`, resource: resource.metadata.name };
  const verdict: Verdict = verdictOf(probed, { ...expected, subject: own });
  return { subject, verdict, served: probed.reached ? probed.served : undefined };
}
