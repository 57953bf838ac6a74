/** `dcred/kubernetes` as a package: its README's example runs against a real API server, and compiles against its declarations. */

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { buildLibraries } from '../../scripts/libraries.ts';
import { SECRETS } from '../../src/kubernetes/resource-type.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { endChild, eventually } from '../../testing/support/processes.ts';
import { clientFor } from './clients.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const run = promisify(execFile);
const [, example = ''] =
  /```ts\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, 'src/kubernetes/README.md'), 'utf8')) ?? [];

describe('dcred/kubernetes', () => {
  let directory: string;

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'dcred-kubernetes-'));
    const modules = join(directory, 'node_modules');
    await buildLibraries(join(modules, 'dcred', 'dist', 'lib'));
    copyFileSync(join(ROOT, 'package.json'), join(modules, 'dcred', 'package.json'));
    for (const name of readdirSync(join(ROOT, 'node_modules'))) {
      if (!name.startsWith('.')) symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
    }
    mkdirSync(join(directory, 'src'));
    writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
    writeFileSync(
      join(directory, 'src', 'operator.ts'),
      example.replace('const log =', 'const log: Logger =').replace('import {', 'import { type Logger,'),
    );
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  test('the README’s operator compiles against the declarations, and labels the Secrets of a real cluster', async () => {
    const strict = ['--strict', '--target', 'es2024', '--module', 'nodenext', '--types', 'node', '--skipLibCheck'];
    const places = ['--rootDir', 'src', '--outDir', 'out', 'src/operator.ts'];
    const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
    await run(process.execPath, [tsc, '--ignoreConfig', ...strict, ...places], { cwd: directory });

    const plane: ControlPlane = await startControlPlane();
    const signal = new AbortController().signal;
    const client = await clientFor(plane.kubeconfig);
    const child = spawn(process.execPath, [join(directory, 'out', 'operator.js')], {
      env: { PATH: process.env['PATH'], KUBECONFIG: plane.kubeconfig },
      stdio: 'inherit',
    });
    try {
      await client.create(SECRETS, { metadata: { namespace: 'default', name: 'fresh' } }, { signal });
      await eventually('the label', async () => {
        const { metadata } = await client.get(SECRETS, { namespace: 'default', name: 'fresh' }, { signal });
        return metadata.labels?.['seen'];
      });
    } finally {
      await endChild(child);
      await client.close();
      await plane.stop();
    }
    assert.equal(child.exitCode, 0, 'SIGTERM shuts it down cleanly');
  });
});
