/** Waiting for a run to be right again: generous, for the machine may be busy; how long it took is reported, never asserted. */
import { setTimeout as delay } from 'node:timers/promises';
import { describe, mustAlwaysHold, type Rule, type Violation } from './checker.ts';
import type { Site } from './ground.ts';

const TIMEOUT_MS = 300_000;
const INTERVAL_MS = 100;
/** Of the time that a look takes, so that many runs in one process leave the operators in it theirs on a busy machine. */
const REST = 4;
const MAX_INTERVAL_MS = 2_000;
/** The operator waits for so long before it deletes the Secret of a pod that is not selected any more, or that has one by another name. */
const DELETION_DELAY_MS = 10_000;
/** What is wrong meanwhile, and what may be with it. */
const WAITED_FOR: ReadonlySet<Rule> = new Set<Rule>(['unselected', 'several']);
const WITH_IT: ReadonlySet<Rule> = new Set<Rule>([...WAITED_FOR, 'status']);
/** So long without a request, it has nothing else to do: its clock then passes once, and calls that are on their way never see it. */
const IDLE_MS = 500;

class NotRecoveredError extends Error {
  readonly code = 'NotRecovered';
  override readonly name = 'NotRecoveredError';
}

/** Wrong at a moment at which it must not be, however soon it is right again. */
class ViolationError extends Error {
  readonly code = 'Violation';
  override readonly name = 'ViolationError';
}

export interface RecoveryOptions {
  /** What need not hold yet. */
  readonly except?: readonly Rule[];
  readonly timeoutMs?: number;
  /** Whether there is no use in waiting any longer. */
  readonly giveUp?: () => boolean;
}

/**
 * Looks until the namespace is as it must be, and gives back how long that took, in milliseconds.
 * @throws ViolationError for what may never be seen, NotRecoveredError for what does not come right
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
    // It waits by choice, and no longer than the clock says.
    if (site.quietMs > IDLE_MS && isWaitedFor(wrong)) site.clock.pass(DELETION_DELAY_MS);
    if (ms > timeoutMs)
      throw new NotRecoveredError(`${what}: still wrong after ${timeoutMs} ms:\n${describe(wrong as Violation[])}`);
    await delay(Math.min(MAX_INTERVAL_MS, Math.max(INTERVAL_MS, REST * (performance.now() - began))));
  }
}

function isWaitedFor(wrong: readonly Violation[]): boolean {
  return wrong.some(({ rule }) => WAITED_FOR.has(rule)) && wrong.every(({ rule }) => WITH_IT.has(rule));
}

/** While the API server is down nobody can say what is right. */
function unreachable(error: unknown): readonly Violation[] {
  return [{ rule: 'unreachable', subject: 'the API server', detail: String(error) }];
}

/** Between two acts of a test, or two looks at a state. */
export async function pause(ms = INTERVAL_MS): Promise<void> {
  await delay(ms);
}

/** Until the operator has asked the API server for nothing for a while: only decides when a test goes on. */
export async function untilQuiet(site: Site, quietMs: number, timeoutMs = 20_000): Promise<void> {
  const started = performance.now();
  while (site.quietMs < quietMs && performance.now() - started < timeoutMs) await delay(INTERVAL_MS);
}
