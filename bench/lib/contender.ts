/** A process under measurement: dcred, of one build or another, or the reference in Go. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ensureBuilt, type GoModule } from '../../testing/controlplane/go-module.ts';
import { freePort } from '../../testing/support/ports.ts';
import { endChild } from '../../testing/support/processes.ts';

export interface Contender {
  readonly name: string;
  readonly command: (namespace: string, metricsPort: number) => readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly hasMetrics: boolean;
  /** Whether it serves DelegatedCredentials; the reference takes what it needs from its arguments. */
  readonly needsResource: boolean;
}

const ROOT = join(import.meta.dirname, '..', '..');
/** As the chart sets them for its memory limit, and the image for malloc. */
const ENV = { NODE_OPTIONS: '--max-old-space-size=128 --max-semi-space-size=4', MALLOC_ARENA_MAX: '1' };

/** @param options Node's options, and environment variables as NAME=VALUE */
export function dcred(
  name: string,
  kubeconfig: string,
  // What the image runs.
  bundle = join(ROOT, 'dist', 'app', 'dcred.mjs'),
  args: readonly string[] = [],
  options: readonly string[] = [],
): Contender {
  return {
    name,
    command: (_namespace, port) => [
      process.execPath,
      ...(process.env['DCRED_BENCH_PROFILE'] === undefined
        ? []
        : ['--cpu-prof', `--cpu-prof-dir=${process.env['DCRED_BENCH_PROFILE']}`]),
      ...options.filter((option) => option.startsWith('-')),
      bundle,
      'operator',
      `--kubeconfig=${kubeconfig}`,
      '--leader-elect=false',
      `--metrics-bind-address=127.0.0.1:${port}`,
      '--health-probe-bind-address=0',
      ...args,
    ],
    env: { ...ENV, ...Object.fromEntries(options.flatMap((one) => (one.startsWith('-') ? [] : [one.split('=')]))) },
    hasMetrics: true,
    needsResource: true,
  };
}

const REFERENCE: GoModule<'reference'> = {
  name: 'reference',
  directory: join(import.meta.dirname, '..', 'reference'),
  packages: { reference: '.' },
  sources: ['main.go', 'credential.go'],
  flags: () => ['-ldflags=-s -w'],
  instead: 'Or set DCRED_BENCH_REFERENCE=off to measure without it.',
};

export async function goReference(kubeconfig: string): Promise<Contender> {
  const binary = join(await ensureBuilt(REFERENCE, ['reference']), 'reference');
  return {
    name: 'Go',
    command: (namespace) => [binary, `-kube=${kubeconfig}`, `-n=${namespace}`, '-workers=32'],
    env: {},
    hasMetrics: false,
    needsResource: false,
  };
}

export class Running {
  readonly pid: number;
  /** From the start of the process until its caches are filled. */
  readonly syncedMs: number;
  readonly #child: ChildProcess;
  readonly #metricsPort: number | undefined;

  constructor(child: ChildProcess, syncedMs: number, metricsPort: number | undefined) {
    this.#child = child;
    this.pid = child.pid ?? 0;
    this.syncedMs = syncedMs;
    this.#metricsPort = metricsPort;
  }

  /** All series by name and labels; none where the process has no metrics. */
  async metrics(): Promise<ReadonlyMap<string, number>> {
    if (this.#metricsPort === undefined) return new Map();
    const text = await (await fetch(`http://127.0.0.1:${this.#metricsPort}/metrics`)).text();
    const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    return new Map(
      lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
    );
  }

  async stop(): Promise<void> {
    await endChild(this.#child);
  }
}

export async function startContender(contender: Contender, namespace: string): Promise<Running> {
  const port = await freePort();
  const [file = '', ...args] = contender.command(namespace, port);
  const started = performance.now();
  const env = { ...process.env, ...contender.env };
  const child = spawn(file, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  const { stderr } = child;
  if (stderr === null) throw new TypeError('the process has no standard error');
  return await new Promise((resolve, reject) => {
    let said = '';
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`${contender.name} ended with status ${code}: ${said}`)));
    createInterface({ input: stderr }).on('line', (line) => {
      if (said.length < 4_000) said += `${line}\n`;
      if (!line.includes('"msg":"caches synced"')) return;
      resolve(new Running(child, performance.now() - started, contender.hasMetrics ? port : undefined));
    });
  });
}

/** The sum of all series of one name. */
export function sumOf(metrics: ReadonlyMap<string, number>, name: string): number {
  let sum = 0;
  for (const [series, value] of metrics) if (series === name || series.startsWith(`${name}{`)) sum += value;
  return sum;
}
