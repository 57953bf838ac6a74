/**
 * `make e2e`: builds everything that the end-to-end tests need, with progress shown, then runs them, or the named ones,
 * one after the other. Needs root on Linux; where no node can run, each test is skipped with the reason on its line, and with
 * CI=true that is a failure.
 */
import { spawn } from 'node:child_process';
import { glob } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureBinaries } from '../testing/controlplane/binaries.ts';
import { progressReporter } from '../testing/controlplane/build-progress.ts';
import { ensureNodeBinaries } from '../testing/node/binaries.ts';
import { whyNoNode } from '../testing/node/requirements.ts';
import { whyNoFirefox } from '../testing/peers/firefox.ts';
import { findPeers } from '../testing/peers/peers.ts';
import { findTlslite } from '../testing/peers/tlslite.ts';
import { run } from '../testing/support/processes.ts';

const ROOT = join(import.meta.dirname, '..');
const BINARIES = [
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kubelet',
  'kube-proxy',
  'kubectl',
  'helm',
] as const;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

async function prepare(): Promise<void> {
  say('checking what a node, a browser and a TLS server need; installing what is missing');
  const obstacle = await whyNoNode();
  if (obstacle !== false) {
    say(`the tests will be skipped: ${obstacle}`);
    return;
  }
  const peers = [await findPeers(), await findTlslite()];
  for (const reason of [await whyNoFirefox(), ...peers.map((peer) => (peer.available ? false : peer.reason))]) {
    if (reason !== false) say(`some tests will be skipped: ${reason}`);
  }
  const onProgress = progressReporter(process.stdout);
  await ensureBinaries(BINARIES, { onProgress });
  await ensureNodeBinaries({ onProgress });
  for (const script of ['build.ts', 'image.ts']) {
    process.stdout.write((await run(process.execPath, [join(ROOT, 'scripts', script)], { cwd: ROOT })).stdout);
  }
}

async function testFiles(): Promise<readonly string[]> {
  const found: string[] = [];
  for await (const file of glob('test/e2e/*.test.ts', { cwd: ROOT })) found.push(file);
  return found.sort();
}

async function main(argv: readonly string[]): Promise<number> {
  await prepare();
  const options = argv.filter((word) => word.startsWith('-'));
  const named = argv.filter((word) => !word.startsWith('-'));
  const files = named.length > 0 ? named : await testFiles();
  // One at a time: they measure, and each has a whole cluster.
  const args = ['--test', '--test-concurrency=1', ...options, ...files];
  const child = spawn(process.execPath, args, { cwd: ROOT, stdio: 'inherit' });
  // Ctrl-C reaches the child too, which stops its tests and reports them.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  return await new Promise((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
}

process.exitCode = await main(process.argv.slice(2));
