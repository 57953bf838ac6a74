/** What a pod requests, or may use, as a whole: as the scheduler, quotas and LimitRanges count it. Pure. */
import { type Container, type Entries, type PodSpec, RESOURCE_NAMES, type Resources } from './pod.ts';
import { parseQuantity } from './quantity.ts';

/** Thousandths by resource. */
export type Amounts = Map<string, bigint>;

export interface Totals {
  readonly requests: Amounts;
  readonly limits: Amounts;
}

export function amounts(entries: Entries | null | undefined): Amounts {
  const found: Amounts = new Map();
  for (const name of RESOURCE_NAMES) {
    const amount = parseQuantity(entries?.[name] ?? '');
    if (amount !== undefined) found.set(name, amount);
  }
  return found;
}

/** Of all containers. Where a limit alone is set, the API server sets the request to it. */
export function totalsOfContainers(spec: PodSpec): Totals {
  return {
    requests: together(spec, ({ resources }) => withRequests(resources)),
    limits: together(spec, ({ resources }) => amounts(resources?.limits)),
  };
}

/** With what is set for the pod as a whole, which counts in place of the containers' sum. */
export function totals(spec: PodSpec): Totals {
  const { limits, requests } = totalsOfContainers(spec);
  return {
    requests: merged(requests, amounts(spec.resources?.requests), whole),
    limits: merged(limits, amounts(spec.resources?.limits), whole),
  };
}

/**
 * Init containers run one after the other and before the containers, except for sidecars, which go on running: the phase that needs
 * most counts.
 */
function together({ containers, initContainers }: PodSpec, amountsOf: (container: Container) => Amounts): Amounts {
  let [sidecars, starting]: [Amounts, Amounts] = [new Map(), new Map()];
  for (const container of initContainers ?? []) {
    const beside = merged(sidecars, amountsOf(container), sum);
    starting = merged(starting, beside, larger);
    if (container.restartPolicy === 'Always') sidecars = beside;
  }
  const running = (containers ?? []).reduce((all, container) => merged(all, amountsOf(container), sum), sidecars);
  return merged(running, starting, larger);
}

function withRequests(resources: Resources | null | undefined): Amounts {
  return merged(amounts(resources?.limits), amounts(resources?.requests), whole);
}

/** `choose` decides where both have the resource. */
function merged(one: Amounts, other: Amounts, choose: (a: bigint, b: bigint) => bigint): Amounts {
  const all = new Map(one);
  for (const [name, amount] of other) {
    const present = one.get(name);
    all.set(name, present === undefined ? amount : choose(present, amount));
  }
  return all;
}

const sum = (a: bigint, b: bigint): bigint => a + b;
const whole = (_: bigint, b: bigint): bigint => b;

export function larger(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
