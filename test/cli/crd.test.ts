import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { crdCommand } from '../../src/cli/crd.ts';
import { runCommand } from './run-command.ts';

test('dcred crd prints the CRD as it is committed', async () => {
  const committed = join(import.meta.dirname, '..', '..', 'crds', 'dcred.dev_delegatedcredentials.yaml');
  const { status, stdout, stderr } = await runCommand(crdCommand, []);
  assert.deepEqual([status, stderr], [0, '']);
  assert.equal(stdout, await readFile(committed, 'utf8'));
});
