/**
 * The series of each DelegatedCredential, in Prometheus' text format. There may be ten thousand resources with ten series each: a
 * scrape renders them in slices, so that nothing else waits for it, and scrapes at the same time share one rendering.
 */
import type { PodTally } from '../core/status.ts';

export interface ResourceFacts {
  readonly namespace: string;
  readonly name: string;
  readonly ready: boolean;
  readonly pods: Omit<PodTally, 'failures'>;
  /** In seconds since the epoch. Undefined while it cannot be used: the series of the last usable one stay, as its credentials do. */
  readonly certificate: { readonly notBefore: number; readonly notAfter: number } | undefined;
}

/** What is kept of a resource: numbers, no series objects. */
interface Row {
  readonly ready: 0 | 1;
  readonly selected: number | undefined;
  readonly issued: number | undefined;
  readonly failed: number | undefined;
  readonly notInjected: number | undefined;
  readonly earliestExpiry: number | undefined;
  readonly renewalDeadline: number | undefined;
  readonly nextRenewal: number | undefined;
  readonly notBefore: number | undefined;
  readonly notAfter: number | undefined;
}

interface Family {
  readonly name: string;
  readonly help: string;
  /** Further labels with the value; undefined: there is no such series now. */
  readonly values: (row: Row) => readonly (readonly [labels: string, value: number | undefined])[];
}

const FAMILIES: readonly Family[] = [
  {
    name: 'dcred_ready',
    help: '1 if the DelegatedCredential is Ready, else 0.',
    values: ({ ready }) => [['', ready]],
  },
  {
    name: 'dcred_pods',
    help: 'Pods of a DelegatedCredential, by state: selected, issued, failed, not_injected.',
    values: ({ failed, issued, notInjected, selected }) => [
      [',state="selected"', selected],
      [',state="issued"', issued],
      [',state="failed"', failed],
      [',state="not_injected"', notInjected],
    ],
  },
  {
    name: 'dcred_earliest_expiry_timestamp_seconds',
    help: 'When the first of the issued credentials expires, in seconds since the epoch.',
    values: ({ earliestExpiry }) => [['', earliestExpiry]],
  },
  {
    name: 'dcred_renewal_deadline_timestamp_seconds',
    help: 'The earliest time at which half of the time between renewal and expiry of a credential is over, in seconds since the epoch.',
    values: ({ renewalDeadline }) => [['', renewalDeadline]],
  },
  {
    name: 'dcred_next_renewal_timestamp_seconds',
    help: 'When the next credential is due to be re-issued, in seconds since the epoch.',
    values: ({ nextRenewal }) => [['', nextRenewal]],
  },
  {
    name: 'dcred_certificate_not_before_timestamp_seconds',
    help: 'When the delegation certificate became valid, in seconds since the epoch.',
    values: ({ notBefore }) => [['', notBefore]],
  },
  {
    name: 'dcred_certificate_not_after_timestamp_seconds',
    help: 'When the delegation certificate expires, in seconds since the epoch.',
    values: ({ notAfter }) => [['', notAfter]],
  },
];

/** Resources rendered before others get their turn: about a millisecond. */
export const SLICE = 250;

export class ResourceSeries {
  /** By `namespace="...",name="..."`: both are DNS names, which need no escaping. */
  readonly #rows = new Map<string, Row>();
  readonly #turn: () => Promise<void>;
  #rendering: Promise<string> | undefined;

  /** @param turn resolves when others had their turn */
  constructor(turn: () => Promise<void> = nextTurn) {
    this.#turn = turn;
  }

  set({ certificate, name, namespace, pods, ready }: ResourceFacts): void {
    const labels = labelsOf(namespace, name);
    const { notAfter, notBefore } = certificate ?? this.#rows.get(labels) ?? NOTHING_KNOWN;
    this.#rows.set(labels, {
      ready: ready ? 1 : 0,
      selected: pods.selected,
      issued: pods.issued,
      failed: pods.failed,
      notInjected: pods.notInjected,
      earliestExpiry: pods.earliestExpiry,
      renewalDeadline: pods.renewalDeadline,
      nextRenewal: pods.nextRenewal,
      notBefore,
      notAfter,
    });
  }

  /** The others keep their last value. */
  unready(namespace: string, name: string): void {
    const labels = labelsOf(namespace, name);
    this.#rows.set(labels, { ...(this.#rows.get(labels) ?? NOTHING_KNOWN), ready: 0 });
  }

  delete(namespace: string, name: string): void {
    this.#rows.delete(labelsOf(namespace, name));
  }

  /** All series as they are, or are becoming, now. */
  async text(): Promise<string> {
    this.#rendering ??= this.#render().finally(() => {
      this.#rendering = undefined;
    });
    return await this.#rendering;
  }

  async #render(): Promise<string> {
    const texts = FAMILIES.map(({ help, name }) => `# HELP ${name} ${help}\n# TYPE ${name} gauge\n`);
    let slice: [string, Row][] = [];
    const render = (): void => {
      for (const [index, family] of FAMILIES.entries()) texts[index] += linesOf(family, slice);
      slice = [];
    };
    for (const entry of this.#rows) {
      slice.push(entry);
      if (slice.length < SLICE) continue;
      render();
      await this.#turn();
    }
    render();
    return texts.join('\n');
  }
}

const NOTHING_KNOWN: Omit<Row, 'ready'> = {
  selected: undefined,
  issued: undefined,
  failed: undefined,
  notInjected: undefined,
  earliestExpiry: undefined,
  renewalDeadline: undefined,
  nextRenewal: undefined,
  notBefore: undefined,
  notAfter: undefined,
};

function linesOf({ name, values }: Family, rows: readonly (readonly [string, Row])[]): string {
  const lines: string[] = [];
  for (const [labels, row] of rows) {
    for (const [more, value] of values(row)) {
      if (value !== undefined) lines.push(`${name}{${labels}${more}} ${value}\n`);
    }
  }
  return lines.join('');
}

function labelsOf(namespace: string, name: string): string {
  return `namespace="${namespace}",name="${name}"`;
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
