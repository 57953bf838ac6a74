/**
 * `make test`: builds the binaries that the tests need, with progress shown, then runs every test file; or the named ones.
 * What this machine cannot run is skipped by the test itself, with the reason on its line; with CI=true that is a failure.
 */
import { spawn } from 'node:child_process';
import { glob, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBinaries } from '../testing/controlplane/binaries.ts';
import { progressReporter } from '../testing/controlplane/build-progress.ts';

const ROOT = join(import.meta.dirname, '..');
const BINARIES = [
  'etcd',
  'etcdctl',
  'etcdutl',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kubectl',
  'helm',
] as const;
/** Without the end-to-end tests, which need a node: `make e2e`. */
const LEFT_OUT = ['test/e2e/'];
/**
 * More than the cores of a small machine: many tests mostly wait for the API server. Six take as long as four on two cores, which are
 * busy by then.
 */
const CONCURRENCY = 4;

async function testFiles(named: readonly string[]): Promise<readonly string[]> {
  if (named.length > 0) return named;
  const wanted: string[] = [];
  for await (const file of glob('test/**/*.test.ts', { cwd: ROOT })) {
    if (!LEFT_OUT.some((folder) => file.startsWith(folder))) wanted.push(file);
  }
  // The last ones by name are short: no single one is left running at the end.
  return wanted.sort((a, b) => a.localeCompare(b));
}

async function main(argv: readonly string[]): Promise<number> {
  await ensureBinaries(BINARIES, { onProgress: progressReporter(process.stdout) });
  const options = argv.filter((word) => word.startsWith('-'));
  const files = await testFiles(argv.filter((word) => !word.startsWith('-')));
  const args = ['--test', `--test-concurrency=${CONCURRENCY}`, ...options, ...files];
  // Hundreds of processes load the same sources: all but the first find them compiled, and start in half the time.
  const compiled = await mkdtemp(join(tmpdir(), 'dcred-compiled-'));
  // Not under coverage, which is less precise for what was compiled before.
  const isMeasured = options.some((option) => option.startsWith('--experimental-test-coverage'));
  const env = isMeasured ? process.env : { ...process.env, NODE_COMPILE_CACHE: compiled };
  try {
    const child = spawn(process.execPath, args, { cwd: ROOT, stdio: 'inherit', env });
    // Ctrl-C reaches the child too, which stops its tests and reports them.
    process.on('SIGINT', () => {});
    process.on('SIGTERM', () => child.kill('SIGTERM'));
    return await new Promise((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
  } finally {
    await rm(compiled, { recursive: true, force: true });
  }
}

process.exitCode = await main(process.argv.slice(2));
