import assert from 'node:assert/strict';
import { test } from 'node:test';
import { versionCommand } from '../../src/cli/version.ts';
import { runCommand } from './run-command.ts';

test('dcred version says what it is, in a line for users', async () => {
  const { status, stdout } = await runCommand(versionCommand, []);
  assert.equal(status, 0);
  assert.match(stdout, /^dcred \S+ \(\S+\), Node\.js v\d+\.\d+\.\d+\n$/);
});

test('dcred version -o json says the same to programs', async () => {
  const { stdout } = await runCommand(versionCommand, ['-o', 'json']);
  assert.deepEqual(Object.keys(JSON.parse(stdout)), ['version', 'commit', 'node']);
  assert.equal(JSON.parse(stdout).node, process.version);
});
