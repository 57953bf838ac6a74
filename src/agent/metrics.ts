/** The agent's few metrics in Prometheus' text format, without a library, which would cost every pod a megabyte or two. */

const CHECK_OUTCOMES = ['verified', 'refused', 'unreadable'] as const;
export type CheckOutcome = (typeof CHECK_OUTCOMES)[number];
export type ReloadOutcome = 'ok' | 'failed';

export const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

interface Family {
  readonly type: 'counter' | 'gauge';
  readonly help: string;
}

const FAMILIES = {
  dcred_agent_checks_total: {
    type: 'counter',
    help: 'Checks of mounted versions, by outcome: verified, refused, unreadable.',
  },
  dcred_agent_reloads_total: { type: 'counter', help: 'Attempts to reload a server, by outcome: ok, failed.' },
  dcred_agent_last_reload_timestamp_seconds: {
    type: 'gauge',
    help: 'Time of the last successful reload, in seconds since the epoch.',
  },
  dcred_agent_credential_expiry_timestamp_seconds: {
    type: 'gauge',
    help: 'Expiry of the mounted credential, in seconds since the epoch.',
  },
  dcred_agent_served_expiry_timestamp_seconds: {
    type: 'gauge',
    help: 'Expiry of the credential that the server last loaded, in seconds since the epoch.',
  },
  dcred_agent_ready: {
    type: 'gauge',
    help: '1 while the server has loaded a verified credential that has not expired.',
  },
  dcred_build_info: { type: 'gauge', help: 'Always 1; labelled with the version.' },
  process_resident_memory_bytes: { type: 'gauge', help: 'Resident memory size in bytes.' },
} as const satisfies Readonly<Record<string, Family>>;
type Name = keyof typeof FAMILIES;
type Labels = Readonly<Record<string, string>>;

export class AgentMetrics {
  readonly #series = new Map<Name, Map<string, number>>();

  /** @param targets label of each reload; its counters start at 0 */
  constructor(version: string, targets: readonly string[]) {
    this.#set('dcred_build_info', { version }, 1);
    this.#set('dcred_agent_ready', {}, 0);
    for (const outcome of CHECK_OUTCOMES) this.#add('dcred_agent_checks_total', { outcome }, 0);
    for (const target of targets) {
      for (const outcome of ['ok', 'failed']) this.#add('dcred_agent_reloads_total', { target, outcome }, 0);
    }
  }

  checked(outcome: CheckOutcome): void {
    this.#add('dcred_agent_checks_total', { outcome }, 1);
  }

  /** @param now seconds since the epoch */
  reloaded(target: string, outcome: ReloadOutcome, now: number): void {
    this.#add('dcred_agent_reloads_total', { target, outcome }, 1);
    if (outcome === 'ok') this.#set('dcred_agent_last_reload_timestamp_seconds', { target }, now);
  }

  /** @param expiresAt seconds since the epoch */
  mounted(directory: string, expiresAt: number): void {
    this.#set('dcred_agent_credential_expiry_timestamp_seconds', { directory }, expiresAt);
  }

  /** @param expiresAt seconds since the epoch */
  served(expiresAt: number): void {
    this.#set('dcred_agent_served_expiry_timestamp_seconds', {}, expiresAt);
  }

  render(ready: boolean): string {
    this.#set('dcred_agent_ready', {}, ready ? 1 : 0);
    this.#set('process_resident_memory_bytes', {}, process.memoryUsage.rss());
    const blocks = [...this.#series].map(([name, series]) => {
      const { help, type } = FAMILIES[name];
      const lines = [...series].map(([labels, value]) => `${name}${labels} ${value}\n`);
      return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
    });
    return blocks.join('');
  }

  #add(name: Name, labels: Labels, by: number): void {
    const key = format(labels);
    this.#set(name, labels, (this.#series.get(name)?.get(key) ?? 0) + by);
  }

  #set(name: Name, labels: Labels, value: number): void {
    const series = this.#series.get(name) ?? new Map<string, number>();
    this.#series.set(name, series);
    series.set(format(labels), value);
  }
}

function format(labels: Labels): string {
  const parts = Object.entries(labels).map(([name, value]) => `${name}="${escapeValue(value)}"`);
  return parts.length === 0 ? '' : `{${parts.join(',')}}`;
}

function escapeValue(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
