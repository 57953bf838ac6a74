/** Runs cases of one codec in a thread with little memory, records the number of each before it runs, and reports how many were accepted. */
import { parentPort, workerData } from 'node:worker_threads';
import { CODECS } from './codecs.ts';
import { Random } from './random.ts';

export interface FuzzOrder {
  readonly codec: string;
  readonly seed: number;
  readonly first: number;
  readonly count: number;
  /** The case that runs. */
  readonly position: SharedArrayBuffer;
}

const { codec, count, first, position, seed } = workerData as FuzzOrder;
const run = CODECS[codec];
if (run === undefined) throw new TypeError(`there is no codec "${codec}"`);
const current = new Int32Array(position);
let accepted = 0;
for (let index = first; index < first + count; index += 1) {
  Atomics.store(current, 0, index);
  if (run(new Random(seed, index))) accepted += 1;
}
parentPort?.postMessage(accepted);
