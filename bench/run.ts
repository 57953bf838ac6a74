/** `make bench`: runs every benchmark of this folder, one after the other; or those that are named (`npm run bench operator`). */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

const named = process.argv.slice(2);
const files = (await readdir(import.meta.dirname)).filter((file) => file.endsWith('.ts') && file !== 'run.ts').sort();
for (const file of files) {
  const name = file.replace(/\.ts$/, '');
  if (named.length > 0 && !named.includes(name)) continue;
  process.stdout.write(`\n== ${name}\n`);
  const child = spawn(process.execPath, [join(import.meta.dirname, file)], { stdio: 'inherit' });
  const [code] = await once(child, 'exit');
  if (code !== 0) process.exitCode = 1;
}
