/**
 * Generated input for every codec: a few cases in `make test`, a million in `make fuzz`. A failure names the seed and the case:
 * DCRED_FUZZ_SEED and DCRED_FUZZ_FIRST run it again, DCRED_FUZZ_CASES says how many.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { CODECS } from './codecs.ts';
import type { FuzzOrder } from './worker.ts';

const number = (name: string, otherwise: number) => Number(process.env[name] ?? otherwise);
const seed = number('DCRED_FUZZ_SEED', randomInt(2 ** 31));
const first = number('DCRED_FUZZ_FIRST', 0);
const count = number('DCRED_FUZZ_CASES', 3_000);

/** For inputs of at most 256 KiB, including garbage from earlier cases that is not collected yet. */
const MAX_HEAP_MB = 128;
/** A case takes well under a millisecond: one that is not done after this hangs, however busy the machine. */
const STALLED_MS = 120_000;
const ENOUGH_FOR_BOTH = 1_000;

describe(`with the seed ${seed}`, { concurrency: 2 }, () => {
  for (const codec of Object.keys(CODECS)) {
    test(`${codec}: ${count} inputs give a result or an error of its own class`, async (t) => {
      const position = new SharedArrayBuffer(4);
      const reached = new Int32Array(position);
      const workerData: FuzzOrder = { codec, seed, first, count, position };
      const worker = new Worker(new URL('worker.ts', import.meta.url), {
        workerData,
        resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MB },
      });
      let accepted: number;
      try {
        accepted = await finished(worker, reached);
      } catch (error) {
        const again = `DCRED_FUZZ_SEED=${seed} DCRED_FUZZ_FIRST=${reached[0]} DCRED_FUZZ_CASES=1`;
        assert.fail(`case ${reached[0]} (${again}): ${error instanceof Error ? error.stack : String(error)}`);
      } finally {
        await worker.terminate();
      }
      t.diagnostic(`${accepted} of ${count} accepted`);
      // Input that is never accepted, or always, tests only half of a codec.
      if (count >= ENOUGH_FOR_BOTH) assert.ok(accepted > 0 && accepted < count, `${accepted} of ${count} accepted`);
    });
  }
});

/** How many were accepted. Rejects with what the thread throws, including running out of memory, and when it hangs in one case. */
function finished(worker: Worker, reached: Int32Array): Promise<number> {
  return new Promise((resolve, reject) => {
    let last = -1;
    const watchdog = setInterval(() => {
      if (reached[0] === last) reject(new Error(`no end after ${STALLED_MS / 1000} s`));
      last = reached[0] ?? 0;
    }, STALLED_MS);
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error('the thread ended early')));
    const stop = () => clearInterval(watchdog);
    worker.once('message', stop).once('error', stop).once('exit', stop);
  });
}
