/**
 * Sieve (Sun et al., OSDI 2022): a controller is only as good as its worst view of the cluster. A reference run without faults
 * names every request that the operator makes; then each of them, in its own run, is the moment at which the operator is
 * killed, restarted into the past, or kept from seeing what happens next.
 */
import type { Exchange } from './exchange.ts';
import type { Ground, RunningOperator, Site } from './ground.ts';
import { PastView } from './past-view.ts';
import { untilQuiet, untilRight } from './recovery.ts';
import { prepare, STEPS, type Step } from './workload.ts';

export const PERTURBATIONS = ['killed before', 'killed after', 'a view from the past', 'an event hidden'] as const;
type Perturbation = (typeof PERTURBATIONS)[number];

export interface SieveCase {
  readonly perturbation: Perturbation;
  /** The request, as in `patch secrets web-a #2`. */
  readonly key: string;
}

export interface SieveRun {
  readonly case: SieveCase | undefined;
  /** Whether the request was made at all: two runs are never quite the same. */
  readonly reached: boolean;
  /** How many versions of issued Secrets were written. */
  readonly secretWrites: number;
  /** From the fault, or the last change of the cluster after it, to everything right; milliseconds. */
  readonly recoveryMs: number;
  readonly keys: readonly string[];
}

/** The reference run: without a fault. */
export function reference(ground: Ground): Promise<SieveRun> {
  return run(ground, undefined);
}

export async function run(ground: Ground, sieveCase: SieveCase | undefined): Promise<SieveRun> {
  const site = await ground.site();
  const sieve = new Sieve(site, sieveCase);
  try {
    return await sieve.run();
  } finally {
    await site.end();
  }
}

/** An operator that sends no request for this long has done what it is going to do. */
const QUIET_MS = 300;

class Sieve {
  readonly #site: Site;
  readonly #case: SieveCase | undefined;
  #operator: RunningOperator | undefined;
  #reached = false;
  /** The version before the current step. */
  #pastVersion = '';
  #past: PastView | undefined;
  #restarting: Promise<void> | undefined;
  #hidden = false;

  constructor(site: Site, sieveCase: SieveCase | undefined) {
    this.#site = site;
    this.#case = sieveCase;
  }

  async run(): Promise<SieveRun> {
    await prepare(this.#site);
    this.#pastVersion = await this.#version();
    await this.#start(true);
    let recoveryMs = 0;
    for (const step of STEPS) {
      const ms = await this.#take(step);
      if (this.#reached) recoveryMs = Math.max(recoveryMs, ms);
    }
    const { journal } = this.#site;
    // As the API server shows them, whatever the operator knows of its writes.
    const secretWrites = this.#site.ground.witness.versions(this.#site.namespace);
    const keys = journal.map(({ key }) => key);
    return { case: this.#case, reached: this.#reached, secretWrites, recoveryMs, keys };
  }

  /** Changes the cluster and waits until the operator has made it right. */
  async #take(step: Step): Promise<number> {
    const wasHidden = this.#hidden;
    if (!wasHidden) this.#pastVersion = await this.#version();
    await step.change(this.#site);
    if (wasHidden) this.#reveal();
    const options = step.settled === true ? {} : { except: ['status' as const] };
    for (;;) {
      const ms = await untilRight(this.#site, `${this.#what} in "${step.name}"`, {
        ...options,
        // The operator cannot act on what is hidden: the next step meets an operator that has not seen this one.
        giveUp: () => this.#hidden && this.#site.quietMs > QUIET_MS,
      });
      if (this.#hidden && step === STEPS.at(-1)) this.#reveal();
      else if (this.#restarting === undefined) return ms;
      await this.#restarting;
      this.#restarting = undefined;
    }
  }

  get #what(): string {
    return this.#case === undefined ? 'without a fault' : `${this.#case.perturbation} "${this.#case.key}"`;
  }

  async #version(): Promise<string> {
    return await this.#site.admin.resourceVersion(`/api/v1/namespaces/${this.#site.namespace}/pods`);
  }

  async #start(watched: boolean): Promise<void> {
    const at = (moment: 'before' | 'after') => (exchange: Exchange) => this.#at(moment, exchange);
    const hooks = watched && this.#case !== undefined ? { before: at('before'), after: at('after') } : {};
    this.#operator = await this.#site.startOperator({
      ...hooks,
      onWatch: (watch) => void (this.#hidden && watch.hold()),
      ...(this.#past === undefined ? {} : { past: this.#past }),
    });
  }

  #at(moment: 'before' | 'after', { key }: Exchange): void {
    if (this.#reached || this.#case?.key !== key) return;
    const { perturbation } = this.#case;
    if ((perturbation === 'killed before') !== (moment === 'before')) return;
    this.#reached = true;
    if (perturbation === 'an event hidden') {
      this.#hide();
      return;
    }
    this.#operator?.kill();
    if (perturbation === 'a view from the past') this.#past = new PastView(this.#pastVersion);
    this.#restarting = this.#restart();
  }

  async #restart(): Promise<void> {
    await this.#start(false);
    if (this.#past === undefined) return;
    // It acts on its old view; then its API server catches up.
    await untilQuiet(this.#site, QUIET_MS);
    this.#past.release();
  }

  /** From now on no event is seen, until the version is compacted and the API server shows only the final state. */
  #hide(): void {
    this.#hidden = true;
    for (const watch of this.#operator?.proxy.watches ?? []) watch.hold();
  }

  #reveal(): void {
    this.#hidden = false;
    for (const watch of this.#operator?.proxy.watches ?? []) watch.expire();
  }
}
