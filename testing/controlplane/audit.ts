import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A rule of an audit.k8s.io/v1 Policy. The first that matches a request decides. */
export interface AuditRule {
  readonly level: 'None' | 'Metadata' | 'Request' | 'RequestResponse';
  readonly users?: readonly string[];
  readonly userGroups?: readonly string[];
  readonly verbs?: readonly string[];
  readonly namespaces?: readonly string[];
  readonly resources?: readonly { readonly group?: string; readonly resources?: readonly string[] }[];
  readonly nonResourceURLs?: readonly string[];
}

/** An audit.k8s.io/v1 Event: one request that was answered. */
export interface AuditEvent {
  readonly stage: 'ResponseStarted' | 'ResponseComplete' | 'Panic';
  readonly verb: string;
  readonly requestURI: string;
  readonly user: { readonly username: string; readonly groups?: readonly string[] };
  readonly objectRef?: {
    readonly apiGroup?: string;
    readonly resource: string;
    readonly subresource?: string;
    readonly namespace?: string;
    readonly name?: string;
  };
  readonly responseStatus?: { readonly code: number; readonly reason?: string };
  readonly requestReceivedTimestamp: string;
  readonly stageTimestamp: string;
  readonly requestObject?: unknown;
  readonly responseObject?: unknown;
  readonly annotations?: Readonly<Record<string, string>>;
}

export function auditLogPath(directory: string): string {
  return join(directory, 'audit.log');
}

/** Writes the policy, and gives the API server's flags for it. A watch is logged twice: when it starts and when it ends. */
export async function auditArguments(directory: string, rules: readonly AuditRule[]): Promise<readonly string[]> {
  const path = join(directory, 'audit-policy.json');
  const policy = { apiVersion: 'audit.k8s.io/v1', kind: 'Policy', omitStages: ['RequestReceived'], rules };
  await writeFile(path, JSON.stringify(policy));
  return [`--audit-policy-file=${path}`, `--audit-log-path=${auditLogPath(directory)}`, '--audit-log-mode=blocking'];
}

/** The requests that were logged so far, in the order in which they were answered. */
export async function readAuditLog(path: string): Promise<readonly AuditEvent[]> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
  // What follows the last newline is still being written.
  const lines = text.split('\n').slice(0, -1);
  return lines.map((line) => JSON.parse(line) as AuditEvent);
}

/**
 * When the API server answered, in seconds since the epoch, to the microsecond: the one clock that neither a test nor the programs under
 * test can change.
 */
export function answeredAt({ stageTimestamp }: Pick<AuditEvent, 'stageTimestamp'>): number {
  // Date.parse reads milliseconds only.
  const match = /^(.*T\d{2}:\d{2}:\d{2})(\.\d+)?Z$/.exec(stageTimestamp);
  if (match === null) throw new Error(`expected a time such as 2026-11-24T12:00:00.123456Z, found ${stageTimestamp}`);
  const [, seconds, fraction = ''] = match;
  return Date.parse(`${seconds}Z`) / 1_000 + Number(`0${fraction}`);
}
