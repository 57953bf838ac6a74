import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { freePort } from '../../../testing/support/ports.ts';

const MODULE = new URL('../../../testing/support/ports.ts', import.meta.url).href;
/** Of 12,000: without a reservation some twenty would be the same. */
const PORTS = 500;

test('two processes that choose at the same time get different ports', async () => {
  const program = `
    import { freePort } from ${JSON.stringify(MODULE)};
    const ports = [];
    while (ports.length < ${PORTS}) ports.push(await freePort());
    process.stdout.write(JSON.stringify(ports) + '\\n', () => process.stdout.end());
    process.stdin.resume();`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  const own: number[] = [];
  while (own.length < PORTS) own.push(await freePort());
  const theirs = JSON.parse(await text(child.stdout)) as readonly number[];
  child.stdin.end();
  await exited;
  assert.equal(new Set([...own, ...theirs]).size, 2 * PORTS);
});
