/**
 * The agent's readiness as a file, for probes that are commands: where a service mesh intercepts the kubelet's HTTP probes, or where
 * the pod has no port to spare.
 */
import { rename, rm, writeFile } from 'node:fs/promises';
import { readBounded } from '../files/read-bounded.ts';

interface Status {
  /** Null: it is ready. */
  readonly problem: string | null;
  /** Milliseconds since the epoch: after this, an agent that still ran would have written again. */
  readonly validUntil: number;
}

const MAX_BYTES = 4_096;
const MAX_PROBLEM_LENGTH = 1_024;

/** Replaces the file as a whole, so that no probe reads half of it. Never writes into what someone else put there: a link, a pipe. */
export async function writeStatus(path: string, problem: string | undefined, validUntil: number): Promise<void> {
  const status: Status = { problem: problem?.slice(0, MAX_PROBLEM_LENGTH) ?? null, validUntil };
  await rm(`${path}.new`, { force: true });
  await writeFile(`${path}.new`, JSON.stringify(status), { flag: 'wx', mode: 0o644 });
  await rename(`${path}.new`, path);
}

/** Why the agent is not ready; undefined when it is. Never rejects. */
export async function readStatus(path: string, now: number): Promise<string | undefined> {
  const text = await readBounded(path, MAX_BYTES).catch(() => undefined);
  if (text === undefined)
    return `there is no status in ${path}: the agent has not started, or runs without --status-file`;
  let status: unknown;
  try {
    status = JSON.parse(text.toString('utf8'));
  } catch {
    status = undefined;
  }
  if (!isStatus(status)) return `${path} holds no status of an agent`;
  if (now > status.validUntil) return 'the agent has stopped writing its status';
  return status.problem ?? undefined;
}

function isStatus(value: unknown): value is Status {
  const { problem, validUntil } = (value ?? {}) as Partial<Record<keyof Status, unknown>>;
  return typeof validUntil === 'number' && (problem === null || typeof problem === 'string');
}
