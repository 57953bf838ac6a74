/**
 * `make test-busy`: the whole suite, again and again, on a machine kept busy by two endless loops per core. Prints each run's result,
 * and the failures by name at the end. `RUNS=10` and `LOOPS=4` are the defaults on two cores; test files may be named.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { endChild } from '../testing/support/processes.ts';

const RUNS = Number(process.env['RUNS'] ?? 10);
const LOOPS = Number(process.env['LOOPS'] ?? 2 * availableParallelism());
/** However this process ends, the loop's standard input closes, and the loop exits. */
const LOOP = `process.stdin.on('end', () => process.exit()).resume(); (function spin() {
  const end = Date.now() + 50; while (Date.now() < end); setImmediate(spin); })();`;
const FAILED = /^\s*(?:✖|not ok \d+ -) (.*?)(?: \(\d[\d.]*m?s\))?$/;
const COUNT = /^(?:ℹ|#) (tests|pass|fail|cancelled|skipped) (\d+)$/;

interface Outcome {
  readonly code: number | null;
  readonly counts: Readonly<Record<string, number>>;
  readonly failures: ReadonlySet<string>;
}

function startLoops(): readonly ChildProcess[] {
  return Array.from({ length: LOOPS }, () =>
    spawn(process.execPath, ['--eval', LOOP], { stdio: ['pipe', 'ignore', 'inherit'] }),
  );
}

async function runSuite(files: readonly string[], current: (child: ChildProcess) => void): Promise<Outcome> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'test.ts'), ...files], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  current(child);
  const counts: Record<string, number> = {};
  const failures = new Set<string>();
  const lines = createInterface({ input: child.stdout });
  lines.on('line', (line) => {
    const [, what = '', count] = COUNT.exec(line) ?? [];
    if (count !== undefined) counts[what] = Number(count);
    const failed = FAILED.exec(line)?.[1];
    if (failed !== undefined && failed !== 'failing tests:') failures.add(failed);
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', (status) => resolve(status)));
  return { code, counts, failures };
}

async function main(files: readonly string[]): Promise<number> {
  let suite: ChildProcess | undefined;
  let stopped = false;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      stopped = true;
      suite?.kill('SIGTERM');
    });
  }
  const loops = startLoops();
  const failures = new Map<string, number>();
  let bad = 0;
  try {
    process.stdout.write(`${RUNS} runs beside ${LOOPS} busy loops on ${availableParallelism()} cores\n`);
    for (let run = 1; run <= RUNS && !stopped; run += 1) {
      const outcome = await runSuite(files, (child) => {
        suite = child;
      });
      if (outcome.code !== 0) bad += 1;
      for (const failure of outcome.failures) failures.set(failure, (failures.get(failure) ?? 0) + 1);
      const counts = Object.entries(outcome.counts).map(([what, count]) => `${what} ${count}`);
      process.stdout.write(`run ${run}: ${outcome.code === 0 ? 'passed' : 'FAILED'} (${counts.join(', ')})\n`);
      for (const failure of outcome.failures) process.stdout.write(`  failed: ${failure}\n`);
    }
  } finally {
    await Promise.all(loops.map((loop) => endChild(loop, { signal: 'SIGKILL' })));
  }
  for (const [failure, times] of failures) process.stdout.write(`failed in ${times} of ${RUNS} runs: ${failure}\n`);
  return bad > 0 || stopped ? 1 : 0;
}

process.exitCode = await main(process.argv.slice(2));
