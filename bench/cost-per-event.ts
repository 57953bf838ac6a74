/**
 * The CPU time that one event costs the operator with 1,000, 10,000 and 100,000 pods, and with as many resources; and what it costs in
 * another checkout, in the same run. The API is a fake (`testing/support/fake-api.ts`), so that only the operator is measured.
 *
 *     node bench/cost-per-event.ts [--against CHECKOUT] [--sizes 1000,10000,100000] [--json]
 */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    against: { type: 'string' },
    sizes: { type: 'string', default: process.env['DCRED_BENCH_SIZES'] ?? '1000,10000' },
    json: { type: 'boolean', default: false },
  },
});

const HERE = join(import.meta.dirname, '..');
const WORKER = join(import.meta.dirname, 'support', 'event-cost.ts');
/** No real cluster has more resources than this in one namespace. */
const MAX_RESOURCES = 10_000;

type Figures = Readonly<Record<string, number>>;

interface Measured {
  readonly checkout: 'before' | 'now';
  readonly shape: string;
  readonly size: number;
  readonly figures: Figures;
}

const ROWS: readonly (readonly [string, string, number])[] = [
  ['podTouched', 'a pod changed in nothing that matters, us', 1],
  ['podChanged', 'a pod changed, us', 1],
  ['secretChanged', 'an issued Secret changed, us', 1],
  ['resourceChanged', 'a resource got a label, us', 1],
  ['resourceAdded', 'a resource without pods was added, us', 1],
  ['podIssued', 'a pod was created, and issued to, us', 1],
  ['scrape', 'a scrape of the metrics, ms', 1_000],
  ['scrapeBlocks', 'the longest that it keeps others waiting, ms', 1_000],
  ['startMs', 'start until all is settled, ms', 1],
  ['heapMB', 'heap then, MB', 1],
];

async function measure(checkout: string, shape: string, size: number): Promise<Figures> {
  const args = ['--expose-gc', '--max-old-space-size=4096', WORKER, checkout, shape, String(size)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  return JSON.parse(await text(child.stdout)) as Figures;
}

const sizes = values.sizes.split(',').map(Number);
const all: Measured[] = [];
for (const shape of ['pods', 'resources']) {
  for (const size of sizes.filter((one) => shape === 'pods' || one <= MAX_RESOURCES)) {
    if (values.against !== undefined) {
      all.push({ checkout: 'before', shape, size, figures: await measure(values.against, shape, size) });
    }
    all.push({ checkout: 'now', shape, size, figures: await measure(HERE, shape, size) });
  }
}
if (values.json) process.stdout.write(`${JSON.stringify(all, undefined, 2)}\n`);
else for (const shape of ['pods', 'resources']) print(shape);

function print(shape: string): void {
  const columns = all.filter((one) => one.shape === shape);
  const title = shape === 'pods' ? 'one resource of N pods' : 'N resources of one pod, in one namespace';
  const headings = columns.map(({ checkout, size }) => `${checkout} ${size}`.padStart(16)).join('');
  process.stdout.write(`\n${title.padEnd(48)}${headings}\n`);
  for (const [key, what, divisor] of ROWS) {
    const cells = columns.map(({ figures }) => ((figures[key] ?? Number.NaN) / divisor).toFixed(1).padStart(16));
    process.stdout.write(`${what.padEnd(48)}${cells.join('')}\n`);
  }
}
