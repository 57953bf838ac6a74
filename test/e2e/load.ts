import { setTimeout as delay } from 'node:timers/promises';

/** A steady load of handshakes, and their results. */

export interface LoadOptions {
  /** One handshake; undefined if it was good, else what was wrong. */
  readonly handshake: () => Promise<string | undefined>;
  /** Handshakes to start each second; where the machine cannot do as many, fewer are made. */
  readonly perSecond: number;
  /** Handshakes in flight at once. */
  readonly parallel: number;
  readonly durationMs: number;
}

export interface LoadReport {
  readonly handshakes: number;
  readonly failures: readonly string[];
  /** The rate that was reached, in handshakes a second. */
  readonly rate: number;
}

/** Resolves when the time is over and the last handshake is done. Never sooner than `durationMs`. */
export async function load({ durationMs, handshake, parallel, perSecond }: LoadOptions): Promise<LoadReport> {
  const began = performance.now();
  const end = began + durationMs;
  const failures: string[] = [];
  let handshakes = 0;
  let next = began;
  const client = async () => {
    for (;;) {
      const now = performance.now();
      // Missed slots are not made up for: a burst would be a different load.
      const at = Math.max(next, now);
      if (at >= end) return;
      next = at + 1_000 / perSecond;
      await delay(at - now);
      const problem = await handshake().catch((error: unknown) => String(error));
      handshakes += 1;
      if (problem !== undefined) failures.push(problem);
    }
  };
  await Promise.all(Array.from({ length: parallel }, client));
  const tookMs = Math.max(performance.now() - began, durationMs);
  return { handshakes, failures, rate: (handshakes * 1_000) / tookMs };
}
