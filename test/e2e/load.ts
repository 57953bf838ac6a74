import { setTimeout as delay } from 'node:timers/promises';

/** A steady load of handshakes, and what came of them. */

export interface LoadOptions {
  /** One handshake; undefined where it was as it should be, else what was wrong. */
  readonly handshake: () => Promise<string | undefined>;
  /** Handshakes to start each second; where the machine cannot do as many, fewer are made. */
  readonly perSecond: number;
  /** Handshakes under way at once. */
  readonly parallel: number;
  readonly durationMs: number;
}

export interface LoadReport {
  readonly handshakes: number;
  readonly failures: readonly string[];
  /** Handshakes a second, as they were really made. */
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
      // Slots that were missed stay missed: a burst afterwards would be another load than the wanted one.
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
