import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { freePort } from '../support/ports.ts';
import { endChild, eventually } from '../support/processes.ts';
import type { Cluster } from './cluster.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts');
export const SYSTEM = 'dcred-system';
/** As the chart names them for a release called `dcred`. */
export const CONFIGURATION = 'dcred.dcred-system';
export const CERT_SECRET = 'dcred-webhook-cert';

/** `dcred webhook` as a separate process, with the permissions that the chart gives it. */
export class WebhookProcess {
  readonly lines: string[] = [];
  readonly port: number;
  readonly #child: ChildProcess;
  /** Once it has ended and all that it logged is in `lines`. */
  readonly #closed: Promise<void>;
  readonly #healthPort: number;
  readonly #metricsPort: number;

  constructor(child: ChildProcess, port: number, healthPort: number, metricsPort: number) {
    this.#child = child;
    this.port = port;
    this.#healthPort = healthPort;
    this.#metricsPort = metricsPort;
    const { stderr } = child;
    if (stderr === null) throw new TypeError('the webhook has no standard error');
    const lines = createInterface({ input: stderr }).on('line', (line) => this.lines.push(line));
    this.#closed = once(lines, 'close').then(() => {});
  }

  get log(): string {
    return this.lines.join('\n');
  }

  get exitCode(): number | null {
    return this.#child.exitCode;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Status and text of `/readyz`; status 0 when there is no answer. */
  async readiness(): Promise<{ readonly status: number; readonly text: string }> {
    try {
      const response = await fetch(`http://127.0.0.1:${this.#healthPort}/readyz`);
      return { status: response.status, text: await response.text() };
    } catch {
      return { status: 0, text: '' };
    }
  }

  async metrics(): Promise<string> {
    return await (await fetch(`http://127.0.0.1:${this.#metricsPort}/metrics`)).text();
  }

  async ready(): Promise<void> {
    let seen = '';
    const probe = async () => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) throw new Error('the webhook ended');
      const { status, text } = await this.readiness();
      seen = text;
      return status === 200 ? true : undefined;
    };
    await eventually('the webhook to be ready', probe).catch((error: unknown) => {
      throw new Error(`${String(error)}; it says: ${seen}\n${this.log}`);
    });
  }

  /** SIGTERM; resolves when it has ended. */
  async stop(): Promise<void> {
    await endChild(this.#child);
    await this.#closed;
  }
}

interface WebhookProcessOptions {
  readonly main?: string;
  /** As in the chart's NODE_OPTIONS. */
  readonly nodeOptions?: readonly string[];
  /** Environment variables in addition to this process' own. */
  readonly env?: Readonly<Record<string, string>>;
}

export async function startWebhook(
  cluster: Cluster,
  args: readonly string[] = [],
  { env = {}, main = MAIN, nodeOptions = [] }: WebhookProcessOptions = {},
): Promise<WebhookProcess> {
  const serviceAccount = { namespace: SYSTEM, name: 'dcred-webhook' };
  const kubeconfig = await cluster.plane.kubeconfigFor({ serviceAccount });
  const [port, health, metrics] = [await freePort(), await freePort(), await freePort()];
  const child = spawn(
    process.execPath,
    [
      ...nodeOptions,
      main,
      'webhook',
      `--kubeconfig=${kubeconfig}`,
      `--namespace=${SYSTEM}`,
      `--bind-address=127.0.0.1:${port}`,
      `--metrics-bind-address=127.0.0.1:${metrics}`,
      `--health-probe-bind-address=127.0.0.1:${health}`,
      '--host=127.0.0.1',
      `--webhook-configuration=${CONFIGURATION}`,
      '--shutdown-delay=0s',
      '--agent-image=localhost/dcred:test',
      '--log-level=debug',
      ...args,
    ],
    { stdio: ['ignore', 'inherit', 'pipe'], env: { ...process.env, ...env } },
  );
  return new WebhookProcess(child, port, health, metrics);
}

/** Points the API server at a port of this machine instead of the Service, because no node runs here. */
export async function pointAt(
  { plane }: Cluster,
  port: number,
  failurePolicy: 'Ignore' | 'Fail' = 'Fail',
): Promise<void> {
  const patch = [
    { op: 'remove', path: '/webhooks/0/clientConfig/service' },
    { op: 'add', path: '/webhooks/0/clientConfig/url', value: `https://127.0.0.1:${port}/inject` },
    { op: 'replace', path: '/webhooks/0/failurePolicy', value: failurePolicy },
  ];
  const target = ['mutatingwebhookconfiguration', CONFIGURATION];
  const { stdout } = await plane.kubectl(['get', ...target, '-o', 'jsonpath={.webhooks[0].clientConfig.url}']);
  const needed = stdout === '' ? patch : patch.slice(1);
  await plane.kubectl(['patch', ...target, '--type=json', '-p', JSON.stringify(needed)]);
}
