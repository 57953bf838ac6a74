import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { crdCommand } from '../../../src/cli/cluster/crd.ts';
import { runCommand } from '../run-command.ts';

async function committed(): Promise<readonly string[]> {
  const folder = join(import.meta.dirname, '..', '..', '..', 'crds');
  return await Promise.all((await readdir(folder)).map((file) => readFile(join(folder, file), 'utf8')));
}

test('dcred crd prints the CRDs as they are committed', async () => {
  const { status, stdout, stderr } = await runCommand(crdCommand, []);
  assert.deepEqual([status, stderr], [0, '']);
  assert.deepEqual(new Set(stdout.split('---\n')), new Set(await committed()));
});

test('dcred crd --helm-release takes a namespace and a name', async () => {
  const { stdout } = await runCommand(crdCommand, ['--helm-release', 'dcred-system/dcred']);
  assert.equal(stdout.match(/meta\.helm\.sh\/release-namespace: dcred-system/g)?.length, (await committed()).length);
  for (const wrong of ['dcred', '/dcred', 'a/b/c', 'A/b', '']) {
    await assert.rejects(runCommand(crdCommand, ['--helm-release', wrong]), { code: 'Usage' });
  }
});
