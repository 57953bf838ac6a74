/**
 * `make bench`: runs every benchmark of this folder, one after the other; or those that are named (`npm run bench operator`).
 * DCRED_BENCH_AT_ONCE=2 runs two at a time, to check that they run: their figures then mean nothing.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

const AT_ONCE = Number(process.env['DCRED_BENCH_AT_ONCE'] ?? 1);
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

const named = process.argv.slice(2);
const files = (await readdir(import.meta.dirname)).filter((file) => file.endsWith('.ts') && file !== 'run.ts').sort();
const wanted = files.filter((file) => named.length === 0 || named.includes(nameOf(file))).values();
await Promise.all(Array.from({ length: AT_ONCE }, runEach));

async function runEach(): Promise<void> {
  for (const file of wanted) {
    const code = await (AT_ONCE === 1 ? runShown(file) : runKept(file));
    if (code !== 0) process.exitCode = 1;
  }
}

async function runShown(file: string): Promise<unknown> {
  process.stdout.write(`\n== ${nameOf(file)}\n`);
  const child = spawn(process.execPath, [join(import.meta.dirname, file)], { stdio: 'inherit' });
  return (await once(child, 'exit'))[0];
}

/** Printed when it is done, so that the lines of two are not mixed. */
function runKept(file: string): Promise<unknown> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(import.meta.dirname, file)],
      { maxBuffer: MAX_OUTPUT_BYTES },
      (error, stdout, stderr) => {
        process.stdout.write(`\n== ${nameOf(file)}\n${stdout}`);
        process.stderr.write(stderr);
        resolve(error === null ? 0 : (error.code ?? error.signal));
      },
    );
  });
}

function nameOf(file: string): string {
  return file.replace(/\.ts$/, '');
}
