import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { freePort } from '../support/ports.ts';
import { endChild, eventually } from '../support/processes.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts');
const STEPPABLE_CLOCK = new URL('../support/steppable-clock.ts', import.meta.url).href;

export interface OperatorProcessOptions {
  readonly kubeconfig: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The program. Default: the sources. Benchmarks use the built file, because Node keeps the text of sources in memory. */
  readonly main?: string;
  /** Default: debug, so that every test also covers everything that could be logged. */
  readonly logLevel?: string;
  /** Allows `stepClock`. Default: false. */
  readonly steppableClock?: boolean;
  /** Node's own options, and the folder that it writes its reports into. */
  readonly node?: { readonly args: readonly string[]; readonly directory: string };
}

/** The operator as users run it: a process that ends when the test says so, or with the test's own process. */
export class OperatorProcess {
  readonly lines: string[] = [];
  readonly #child: ChildProcess;
  /** Once it has ended and all that it logged is in `lines`. */
  readonly #closed: Promise<void>;
  #isClosed = false;
  readonly metricsPort: number;
  readonly #healthPort: number;

  constructor(child: ChildProcess, metricsPort: number, healthPort: number) {
    this.#child = child;
    this.metricsPort = metricsPort;
    this.#healthPort = healthPort;
    const { stderr } = child;
    if (stderr === null) throw new TypeError('the operator has no standard error');
    const lines = createInterface({ input: stderr }).on('line', (line) => this.lines.push(line));
    this.#closed = once(lines, 'close').then(() => {
      this.#isClosed = true;
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get exitCode(): number | null {
    return this.#child.exitCode;
  }

  get log(): string {
    return this.lines.join('\n');
  }

  /** The messages logged so far, with their fields. */
  get entries(): readonly Readonly<Record<string, unknown>>[] {
    return this.lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  }

  async until(message: string): Promise<void> {
    const found = async () => {
      if (this.entries.some(({ msg }) => msg === message)) return true;
      if (this.#isClosed) throw new Error('the operator ended');
      return undefined;
    };
    await eventually(`the operator to log "${message}"`, found).catch((error: unknown) => {
      throw new Error(`${String(error)}; it logged:\n${this.log}`);
    });
  }

  async metrics(): Promise<string> {
    return await this.#fetch(this.metricsPort, '/metrics');
  }

  /** The value of one series, such as `dcred_credentials_issued_total{reason="Missing"}`. */
  async metric(series: string): Promise<number> {
    const line = (await this.metrics()).split('\n').find((one) => one.startsWith(`${series} `));
    if (line === undefined) throw new Error(`there is no series ${series}`);
    return Number(line.slice(series.length + 1));
  }

  /** How many credentials it has issued, for whatever reason. */
  async issued(): Promise<number> {
    const lines = (await this.metrics())
      .split('\n')
      .filter((line) => line.startsWith('dcred_credentials_issued_total{'));
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
  }

  /**
   * Waits until a series has reached this value, and gives what it has then: an effect can be seen before whoever caused it has the
   * answer, and counts it.
   */
  async reached(series: string, value: number): Promise<number> {
    return await eventually(`${series} to reach ${value}`, async () => atLeast(value, await this.metric(series)));
  }

  /** The same for `issued`. */
  async reachedIssued(value: number): Promise<number> {
    return await eventually(`${value} credentials to be issued`, async () => atLeast(value, await this.issued()));
  }

  async health(path: '/healthz' | '/readyz'): Promise<number> {
    return (await fetch(`http://127.0.0.1:${this.#healthPort}${path}`)).status;
  }

  /** Steps its wall clock, as NTP would; timers do not move. Resolves once the step is in effect. Needs `steppableClock`. */
  async stepClock(ms: number): Promise<void> {
    const stepped = once(this.#child, 'message');
    this.#child.send({ stepClockMs: ms });
    await stepped;
  }

  /** SIGTERM; resolves with the exit status. */
  async stop(): Promise<number | null> {
    await endChild(this.#child);
    await this.#closed;
    return this.#child.exitCode;
  }

  async kill(): Promise<void> {
    await endChild(this.#child, { signal: 'SIGKILL' });
    await this.#closed;
  }

  async ended(): Promise<number | null> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await once(this.#child, 'exit');
    await this.#closed;
    return this.#child.exitCode;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #fetch(port: number, path: string): Promise<string> {
    return await (await fetch(`http://127.0.0.1:${port}${path}`)).text();
  }
}

export async function startOperator(options: OperatorProcessOptions): Promise<OperatorProcess> {
  const {
    args = ['--leader-elect=false'],
    env = {},
    kubeconfig,
    logLevel = 'debug',
    main = MAIN,
    node,
    steppableClock = false,
  } = options;
  const [metricsPort, healthPort] = [await freePort(), await freePort()];
  const child = spawn(
    process.execPath,
    [
      ...(node?.args ?? []),
      ...(steppableClock ? ['--import', STEPPABLE_CLOCK] : []),
      main,
      'operator',
      `--kubeconfig=${kubeconfig}`,
      `--metrics-bind-address=127.0.0.1:${metricsPort}`,
      `--health-probe-bind-address=127.0.0.1:${healthPort}`,
      `--log-level=${logLevel}`,
      ...args,
    ],
    {
      stdio: ['ignore', 'inherit', 'pipe', ...(steppableClock ? ['ipc' as const] : [])],
      env: { ...process.env, ...env },
      ...(node === undefined ? {} : { cwd: node.directory }),
    },
  );
  const operator = new OperatorProcess(child, metricsPort, healthPort);
  try {
    await operator.until('caches synced');
  } catch (error) {
    await operator.kill();
    throw error;
  }
  return operator;
}

function atLeast(least: number, found: number): number | undefined {
  return found >= least ? found : undefined;
}
