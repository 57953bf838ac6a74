/** Waits for a run to recover: generously, because the machine may be busy; how long it took is reported, never asserted. */
import { setTimeout as delay } from 'node:timers/promises';
import { describe, mustAlwaysHold, type Rule, type Violation } from './checker.ts';
import type { Site } from './ground.ts';

const TIMEOUT_MS = 300_000;
const INTERVAL_MS = 100;
/** Pauses for this many times as long as a check takes, so that checks leave CPU to the operators in this process. */
const REST = 4;
const MAX_INTERVAL_MS = 2_000;
/** How long the operator waits before it deletes the Secret of a pod that is no longer selected, or that has a Secret of another name. */
const DELETION_DELAY_MS = 10_000;
/** What is wrong during that wait, and what may be wrong with it. */
const WAITED_FOR: ReadonlySet<Rule> = new Set<Rule>(['unselected', 'several']);
const WITH_IT: ReadonlySet<Rule> = new Set<Rule>([...WAITED_FOR, 'status']);
/** After this long without a request the operator is idle: its clock may then jump, with no call in flight that would time out. */
const IDLE_MS = 500;

class NotRecoveredError extends Error {
  readonly code = 'NotRecovered';
  override readonly name = 'NotRecoveredError';
}

/** Something was wrong that must never be, however soon it was right again. */
class ViolationError extends Error {
  readonly code = 'Violation';
  override readonly name = 'ViolationError';
}

export interface RecoveryOptions {
  /** What need not hold yet. */
  readonly except?: readonly Rule[];
  readonly timeoutMs?: number;
  /** Whether to stop waiting. */
  readonly giveUp?: () => boolean;
}

/**
 * Checks until the namespace is as it must be, and returns how long that took, in milliseconds.
 * @throws ViolationError for what must never be seen, NotRecoveredError for what does not recover
 */
export async function untilRight(site: Site, what: string, options: RecoveryOptions = {}): Promise<number> {
  const { except = [], giveUp, timeoutMs = TIMEOUT_MS } = options;
  const { witness } = site.ground;
  const started = performance.now();
  for (;;) {
    const began = performance.now();
    const found = await site.violations().catch(unreachable);
    const fatal = [...found.filter(mustAlwaysHold).map((one) => describe([one])), ...witness.problems(site.namespace)];
    if (fatal.length > 0) throw new ViolationError(`${what}:\n${fatal.join('\n')}`);
    const wrong = found.filter(({ rule }) => rule === 'unreachable' || !except.includes(rule));
    const ms = performance.now() - started;
    if (wrong.length === 0 || giveUp?.() === true) return ms;
    // The operator waits by choice, for as long as its clock says.
    if (site.quietMs > IDLE_MS && isWaitedFor(wrong)) site.clock.pass(DELETION_DELAY_MS);
    if (ms > timeoutMs)
      throw new NotRecoveredError(`${what}: still wrong after ${timeoutMs} ms:\n${describe(wrong as Violation[])}`);
    await delay(Math.min(MAX_INTERVAL_MS, Math.max(INTERVAL_MS, REST * (performance.now() - began))));
  }
}

function isWaitedFor(wrong: readonly Violation[]): boolean {
  return wrong.some(({ rule }) => WAITED_FOR.has(rule)) && wrong.every(({ rule }) => WITH_IT.has(rule));
}

/** While the API server is down the state cannot be judged. */
function unreachable(error: unknown): readonly Violation[] {
  return [{ rule: 'unreachable', subject: 'the API server', detail: String(error) }];
}

/** Between two actions of a test, or two checks of a state. */
export async function pause(ms = INTERVAL_MS): Promise<void> {
  await delay(ms);
}

/** Until the operator has sent no request for a while: only decides when a test goes on. */
export async function untilQuiet(site: Site, quietMs: number, timeoutMs = TIMEOUT_MS): Promise<void> {
  const started = performance.now();
  while (site.quietMs < quietMs && performance.now() - started < timeoutMs) await delay(INTERVAL_MS);
}
