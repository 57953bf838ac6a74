import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { crdCommand } from '../../src/cli/crd.ts';
import { runCommand } from './run-command.ts';

test('dcred crd prints the CRDs as they are committed', async () => {
  const folder = join(import.meta.dirname, '..', '..', 'crds');
  const files = (await readdir(folder)).sort();
  const committed = await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8')));
  const { status, stdout, stderr } = await runCommand(crdCommand, []);
  assert.deepEqual([status, stderr], [0, '']);
  assert.equal(stdout, committed.join('---\n'));
});

test('dcred crd --helm-release takes a namespace and a name', async () => {
  const { stdout } = await runCommand(crdCommand, ['--helm-release', 'dcred-system/dcred']);
  assert.equal(stdout.match(/meta\.helm\.sh\/release-namespace: dcred-system/g)?.length, 2);
  for (const wrong of ['dcred', '/dcred', 'a/b/c', 'A/b', '']) {
    await assert.rejects(runCommand(crdCommand, ['--helm-release', wrong]), { code: 'Usage' });
  }
});
