import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { endChild, tryRun } from '../../testing/support/processes.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const SCRIPT = join(ROOT, 'scripts', 'run.ts');
const CRD = join(ROOT, 'crds', 'dcred.dev_delegatedcredentials.yaml');
const OFF = ['--metrics-bind-address=0', '--health-probe-bind-address=0'];

test('make run starts the operator only where the CRDs are those of the checkout', async () => {
  await using plane = await startControlPlane();
  const env = { ...process.env, KUBECONFIG: plane.kubeconfig };
  const refused = async (expected: RegExp) => {
    const { status, stderr } = await tryRun(process.execPath, [SCRIPT, ...OFF], { env });
    assert.equal(status, 1);
    assert.match(stderr, new RegExp(`against ${plane.url}`));
    assert.match(stderr, expected);
    assert.match(stderr, /apply it by make run ARGS=--apply-crds/);
  };
  await refused(/delegatedcredentials\.dcred\.dev is not there/);
  const [text, short] = [await readFile(CRD, 'utf8'), /^( *- dcred)$/m];
  assert.match(text, short, 'the CRD has a short name');
  const other = text.replace(short, '$1x');
  await plane.kubectl(['apply', '--server-side', '-f', '-'], { input: other });
  await refused(/delegatedcredentials\.dcred\.dev differs from this checkout's/);

  const child = spawn(process.execPath, [SCRIPT, '--apply-crds', ...OFF], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = once(child, 'exit');
  try {
    const said: string[] = [];
    for await (const line of createInterface({ input: child.stderr })) {
      said.push(line);
      if (line.includes('"msg":"caches synced"')) break;
    }
    assert.ok(said.includes('applied delegatedcredentials.dcred.dev'), said.join('\n'));
    child.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null]);
  } finally {
    await endChild(child);
  }
});

test('make run says which cluster it cannot find', async () => {
  const { status, stderr } = await tryRun(process.execPath, [SCRIPT, '--kubeconfig=/nowhere/config']);
  assert.equal(status, 1);
  assert.match(stderr, /\/nowhere\/config/);
});
