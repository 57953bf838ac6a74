import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { dump } from 'js-yaml';
import { makeDevCertificate } from '../../src/provision/dev-authority.ts';
import { freePort } from '../support/ports.ts';
import { endChild, eventually } from '../support/processes.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts');
const STEPPABLE_CLOCK = new URL('../support/steppable-clock.ts', import.meta.url).href;
const DAY_SECONDS = 86_400;

export interface SignerProcessOptions {
  /** A kubeconfig of the signer's service account. */
  readonly kubeconfig: string;
  /** As in signer.yaml. */
  readonly config: object;
  /** Where its files go. */
  readonly directory: string;
  /** The CA of client certificates that it accepts. PEM. */
  readonly clientCa?: string;
  /** Default: the sources. */
  readonly program?: string;
  /** Environment variables that the backends of its keys need, in addition to this process' own. */
  readonly env?: Readonly<Record<string, string>>;
}

/** `dcred signer` as a separate process. It may be stopped and started again: address, CA and audit log stay. */
export class SignerProcess {
  readonly lines: string[] = [];
  readonly url: string;
  readonly auditLog: string;
  /** Path of the CA that its clients trust. */
  readonly caFile: string;
  readonly #args: readonly string[];
  readonly #program: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #healthPort: number;
  readonly #metricsPort: number;
  #child: ChildProcess | undefined;

  constructor(
    { directory, env = {}, program = MAIN }: SignerProcessOptions,
    ports: readonly [number, number, number],
    args: readonly string[],
  ) {
    const [port, healthPort, metricsPort] = ports;
    this.url = `https://localhost:${port}`;
    this.auditLog = join(directory, 'audit.jsonl');
    this.caFile = join(directory, 'signer-ca.crt');
    this.#healthPort = healthPort;
    this.#metricsPort = metricsPort;
    this.#args = args;
    this.#program = program;
    this.#env = env;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, ['--import', STEPPABLE_CLOCK, this.#program, 'signer', ...this.#args], {
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
      env: { ...process.env, ...this.#env },
    });
    this.#child = child;
    const { stderr } = child;
    if (stderr === null) throw new TypeError('the signer has no standard error');
    createInterface({ input: stderr }).on('line', (line) => this.lines.push(line));
    try {
      await eventually('the signer to be ready', async () => {
        if (child.exitCode !== null || child.signalCode !== null) throw new Error('it ended');
        const answer = await fetch(`http://127.0.0.1:${this.#healthPort}/readyz`).catch(() => undefined);
        return answer?.ok || undefined;
      });
    } catch (error) {
      await endChild(child, { signal: 'SIGKILL' });
      throw new Error(`the signer did not start: ${String(error)}; it logged:\n${this.lines.join('\n')}`);
    }
  }

  async metrics(): Promise<string> {
    return await (await fetch(`http://127.0.0.1:${this.#metricsPort}/metrics`)).text();
  }

  /** Steps its wall clock. Resolves once the step is in effect. */
  async stepClock(ms: number): Promise<void> {
    if (this.#child === undefined) throw new TypeError('the signer does not run');
    const stepped = once(this.#child, 'message');
    this.#child.send({ stepClockMs: ms });
    await stepped;
  }

  /** Like a node that fails: no client is notified. */
  async kill(): Promise<void> {
    if (this.#child !== undefined) await endChild(this.#child, { signal: 'SIGKILL' });
  }

  async stop(): Promise<void> {
    if (this.#child !== undefined) await endChild(this.#child);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

export async function startSigner(options: SignerProcessOptions): Promise<SignerProcess> {
  const { clientCa, config, directory, kubeconfig } = options;
  const ports = [await freePort(), await freePort(), await freePort()] as const;
  const now = Math.floor(Date.now() / 1000);
  // The host name in the URL.
  const serving = await makeDevCertificate({ dnsNames: ['localhost'], now, lifetimeSeconds: DAY_SECONDS });
  await mkdir(directory, { recursive: true });
  const write = async (name: string, content: string) => {
    await writeFile(join(directory, name), content, { mode: 0o600 });
    return join(directory, name);
  };
  const args = [
    `--kubeconfig=${kubeconfig}`,
    `--config=${await write('signer.yaml', dump(config))}`,
    `--tls-cert=${await write('serving.crt', serving.certificate)}`,
    `--tls-key=${await write('serving.key', serving.key)}`,
    `--audit-log=${join(directory, 'audit.jsonl')}`,
    `--bind-address=127.0.0.1:${ports[0]}`,
    `--health-probe-bind-address=127.0.0.1:${ports[1]}`,
    `--metrics-bind-address=127.0.0.1:${ports[2]}`,
    '--token-review=true',
    '--log-level=debug',
    ...(clientCa === undefined ? [] : [`--client-ca=${await write('clients.crt', clientCa)}`]),
  ];
  await write('signer-ca.crt', serving.authority);
  const signer = new SignerProcess(options, ports, args);
  await signer.start();
  return signer;
}
