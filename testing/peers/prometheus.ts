/** A real Prometheus and its promtool: from the PATH, or out of Debian's package. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findCommand } from '../support/debian.ts';
import { fetchPackage } from '../support/debian-package.ts';
import { freePort } from '../support/ports.ts';
import { endChild, eventually, type Result, tryRun } from '../support/processes.ts';

export type PrometheusTools =
  | { readonly available: true; readonly prometheus: string; readonly promtool: string }
  | { readonly available: false; readonly reason: string };

let found: Promise<PrometheusTools> | undefined;

/** Once per process. Gives the reason where they are not available; in CI that is an error. */
export function findPrometheus(): Promise<PrometheusTools> {
  found ??= find();
  return found;
}

async function find(): Promise<PrometheusTools> {
  const [prometheus, promtool] = [findCommand('prometheus'), findCommand('promtool')];
  if (prometheus !== undefined && promtool !== undefined) return { available: true, prometheus, promtool };
  const fetched = await fetchPackage('prometheus');
  if (fetched.available) {
    const folder = join(fetched.root, 'usr', 'bin');
    return { available: true, prometheus: join(folder, 'prometheus'), promtool: join(folder, 'promtool') };
  }
  if (process.env['CI'] === 'true') throw new Error(`in CI Prometheus must be there: ${fetched.reason}`);
  return fetched;
}

/** `promtool check rules` or `promtool test rules`, on rules as an object: JSON is YAML. */
export async function promtool(
  tools: Extract<PrometheusTools, { available: true }>,
  files: Readonly<Record<string, object>>,
  args: readonly string[],
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'dcred-promtool-'));
  try {
    for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), JSON.stringify(content));
    return await tryRun(tools.promtool, args, { cwd: folder });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export interface ScrapeTarget {
  readonly job: string;
  /** `host:port` */
  readonly address: string;
  /** As Kubernetes' service discovery adds them. */
  readonly labels: Readonly<Record<string, string>>;
}

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

interface Answer {
  readonly data: {
    readonly result: readonly { readonly metric: Sample['metric']; readonly value: [number, string] }[];
  };
}

/** Scrapes every two seconds, and a scrape may take as long; removed with its data on disposal. */
export class Prometheus implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #folder: string;
  readonly #url: string;

  private constructor(child: ChildProcess, folder: string, url: string) {
    this.#child = child;
    this.#folder = folder;
    this.#url = url;
  }

  /** @param rules the content of a rule file */
  static async start(
    { prometheus }: Extract<PrometheusTools, { available: true }>,
    targets: readonly ScrapeTarget[],
    rules: object,
  ): Promise<Prometheus> {
    const folder = await mkdtemp(join(tmpdir(), 'dcred-prometheus-'));
    const config = {
      global: { scrape_interval: '2s', evaluation_interval: '1s' },
      rule_files: ['rules.json'],
      scrape_configs: targets.map(({ address, job, labels }) => ({
        job_name: job,
        honor_labels: true,
        static_configs: [{ targets: [address], labels }],
      })),
    };
    await writeFile(join(folder, 'rules.json'), JSON.stringify(rules));
    await writeFile(join(folder, 'prometheus.json'), JSON.stringify(config));
    const address = `127.0.0.1:${await freePort()}`;
    const child = spawn(
      prometheus,
      ['--config.file=prometheus.json', '--storage.tsdb.path=data', `--web.listen-address=${address}`],
      { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] },
    );
    const log: string[] = [];
    child.stderr.setEncoding('utf8').on('data', (text: string) => log.push(text));
    const started = new Prometheus(child, folder, `http://${address}`);
    await eventually('Prometheus to be ready', async () => {
      if (child.exitCode !== null) throw new Error(`Prometheus ended: ${log.join('')}`);
      return (await fetch(`http://${address}/-/ready`).catch(() => undefined))?.ok || undefined;
    });
    return started;
  }

  /** The samples of an instant query, at this moment. */
  async query(expression: string): Promise<readonly Sample[]> {
    const response = await fetch(`${this.#url}/api/v1/query?query=${encodeURIComponent(expression)}`);
    if (!response.ok) throw new Error(`Prometheus refuses ${expression}: ${await response.text()}`);
    const { data } = (await response.json()) as Answer;
    return data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await endChild(this.#child, { signal: 'SIGKILL' });
    await rm(this.#folder, { recursive: true, force: true });
  }
}
