/**
 * The reload agent's resources: configured ones, adapted so that the pod stays as acceptable as it was without the agent. Pure.
 *
 * - A pod with resources of its own (`spec.resources`) shares them, and what the agent has to request fits into them.
 * - A Guaranteed pod stays Guaranteed: limits equal requests. A BestEffort pod stays BestEffort: no CPU and no memory.
 * - A quota may require what every container of the pod sets: then the agent sets it too.
 * - A LimitRange's min, max and ratio hold for the agent as for every container. Its defaults are for servers: the agent sets
 *   whatever they would.
 */
import { AGENT_NAME } from './agent-container.ts';
import { type LimitRangeItem, podRefusals } from './limit-range.ts';
import {
  type AdmittedPod,
  type Container,
  containersOf,
  type Entries,
  type PodSpec,
  RESOURCE_NAMES,
  type Resources,
} from './pod.ts';
import { type Amounts, amounts, larger, totals, totalsOfContainers } from './pod-resources.ts';
import { formatQuantity, parseQuantity } from './quantity.ts';

export class AgentResourcesError extends Error {
  readonly code = 'BadResources';
  override readonly name = 'AgentResourcesError';
}

const KINDS = ['requests', 'limits'] as const;

/** Measured: an idle agent uses 77 MB, most of it Node's own code, which the pods of a node share. */
export const DEFAULT_RESOURCES = {
  requests: { cpu: '5m', memory: '64Mi' },
  limits: { memory: '128Mi' },
} as const satisfies Resources;

/** Where the pod or its namespace requires more than is configured. With less CPU than this, Node takes seconds to start. */
const REQUIRED = {
  requests: { cpu: '10m', memory: '64Mi', 'ephemeral-storage': '16Mi' },
  limits: { cpu: '100m', memory: '128Mi', 'ephemeral-storage': '64Mi' },
} as const satisfies Resources;

/** What a quota requires of a BestEffort pod's containers too; amounts of 0 do not count for the quality of service. */
const NOTHING = { cpu: '0', memory: '0', 'ephemeral-storage': '0' } as const satisfies Entries;

/**
 * Reads `requests.cpu=5m,limits.memory=128Mi`; empty: no requests and no limits.
 * @throws {AgentResourcesError} whose message says what to write instead
 */
export function parseAgentResources(text: string): Resources {
  const [requests, limits] = [new Map<string, string>(), new Map<string, string>()];
  for (const part of text
    .slice(0, 512)
    .split(',')
    .filter((one) => one.trim() !== '')) {
    const [, kind, name = '', quantity = ''] = /^\s*(requests|limits)\.([a-z-]+)=([^\s=]+)\s*$/.exec(part) ?? [];
    if (kind === undefined || !RESOURCE_NAMES.some((one) => one === name) || parseQuantity(quantity) === undefined) {
      throw new AgentResourcesError(
        `expected resources such as requests.cpu=5m,limits.memory=128Mi (cpu, memory, ephemeral-storage); got ${JSON.stringify(part.slice(0, 60))}`,
      );
    }
    (kind === 'limits' ? limits : requests).set(name, quantity);
  }
  return { requests: Object.fromEntries(requests), limits: Object.fromEntries(limits) };
}

/** The webhook's own resources, for an agent of this pod: a BestEffort one would be Burstable with them, and a quota may refuse that. */
export function resourcesFor({ spec }: AdmittedPod, resources: Resources): Resources {
  if (!isBestEffort(spec)) return resources;
  const without = (entries: Entries | null | undefined) =>
    Object.fromEntries(Object.entries(entries ?? {}).filter(([name]) => !isCounted(name)));
  return { requests: without(resources.requests), limits: without(resources.limits) };
}

/**
 * @param items of the LimitRanges of the pod's namespace
 * @returns what to set, or the sentence that says why no agent fits
 */
export function agentResources(
  { spec }: AdmittedPod,
  configured: Resources,
  items: readonly LimitRangeItem[],
): Resources | string {
  const peers = containersOf(spec);
  const own = hasAny(spec.resources) ? {} : configured;
  const [requests, limits] = [amounts(own.requests), amounts(own.limits)];
  const guaranteed = peers.length > 0 && peers.every(isGuaranteed);
  if (guaranteed) for (const name of ['cpu', 'memory']) fill(limits, name, REQUIRED.limits);
  const bestEffort = isBestEffort(spec);
  for (const name of RESOURCE_NAMES) {
    const required = bestEffort && isCounted(name) ? { requests: NOTHING, limits: NOTHING } : REQUIRED;
    if (peers.length > 0 && peers.every(({ resources }) => resources?.requests?.[name] !== undefined))
      fill(requests, name, required.requests);
    if (peers.length > 0 && peers.every(({ resources }) => resources?.limits?.[name] !== undefined))
      fill(limits, name, required.limits);
  }
  fit(requests, limits, items);
  if (guaranteed) for (const [name, limit] of limits) if (isCounted(name)) requests.set(name, limit);
  const resources = { requests: texts(requests), limits: texts(limits) };
  const agent = { name: AGENT_NAME, restartPolicy: 'Always', resources };
  const withAgent = { ...spec, initContainers: [...(spec.initContainers ?? []), agent] };
  const [refusal] = refusals(items, spec, withAgent);
  if (refusal !== undefined) return `with the agent the namespace's LimitRange would refuse the pod (${refusal})`;
  const [short] = exceededWhole(withAgent, limits);
  if (short !== undefined) return `the pod's own resources leave no room for the agent (${short})`;
  return resources;
}

/** Adapts the agent's amounts to LimitRanges: first what has to be there, then at least the minimum, at most the maximum. */
function fit(requests: Amounts, limits: Amounts, items: readonly LimitRangeItem[]): void {
  const ofContainers = items.filter(({ type }) => type === 'Container');
  const ratios = items.flatMap(({ maxLimitRequestRatio }) => [...amounts(maxLimitRequestRatio)]);
  const minima = ofContainers.flatMap(({ min }) => [...amounts(min)]);
  const maxima = ofContainers.flatMap(({ max }) => [...amounts(max)]);
  const defaults = ofContainers.flatMap(({ default: limit }) => [...amounts(limit)]);
  const defaultRequests = ofContainers.flatMap(({ defaultRequest }) => [...amounts(defaultRequest)]);
  for (const [name] of [...ratios, ...minima, ...defaults, ...defaultRequests]) fill(requests, name, REQUIRED.requests);
  for (const [name] of [...ratios, ...maxima, ...defaults]) fill(limits, name, REQUIRED.limits);
  for (const [name, least] of minima) for (const side of [requests, limits]) change(side, name, least, larger);
  for (const [name, most] of maxima) for (const side of [requests, limits]) change(side, name, most, smaller);
  for (const [name, request] of requests) change(limits, name, request, larger);
  for (const [name, ratio] of ratios) {
    const limit = limits.get(name) ?? 0n;
    // All in thousandths, the ratio too.
    if (ratio > 0n) change(requests, name, (limit * 1_000n + ratio - 1n) / ratio, larger);
  }
}

function change(side: Amounts, name: string, to: bigint, choose: (a: bigint, b: bigint) => bigint): void {
  const amount = side.get(name);
  if (amount !== undefined) side.set(name, choose(amount, to));
}

/**
 * What LimitRanges of pods refuse with the agent, and did not without. Where an API server does not count the resources of the pod
 * as a whole, which 1.34 is the first to do by default, those of its containers count.
 */
function refusals(items: readonly LimitRangeItem[], spec: PodSpec, withAgent: PodSpec): readonly string[] {
  return [totals, totalsOfContainers].flatMap((count) => {
    const [before, after] = [count(spec), count(withAgent)];
    return items.flatMap((item) => {
      const present = podRefusals(item, before);
      return podRefusals(item, after).filter((refusal) => !present.includes(refusal));
    });
  });
}

/**
 * Resources of which the containers and the agent together exceed what the pod as a whole has. A pod with limits alone gets the
 * sum of its containers' requests as its own: that has to fit in too.
 */
function exceededWhole(withAgent: PodSpec, limitsOfAgent: Amounts): readonly string[] {
  const [whole, most] = [amounts(withAgent.resources?.requests), amounts(withAgent.resources?.limits)];
  const { requests } = totalsOfContainers(withAgent);
  const sums = RESOURCE_NAMES.flatMap((name) => {
    const room = whole.get(name) ?? most.get(name);
    if (room === undefined || (requests.get(name) ?? 0n) <= room) return [];
    return [`${whole.has(name) ? 'requests' : 'limits'}.${name} is ${formatQuantity(room)}`];
  });
  const single = [...most].flatMap(([name, limit]) =>
    (limitsOfAgent.get(name) ?? 0n) > limit ? [`limits.${name} is ${formatQuantity(limit)}`] : [],
  );
  return [...sums, ...single];
}

/** Whether the resource counts for the quality of service. */
function isCounted(name: string): boolean {
  return name === 'cpu' || name === 'memory';
}

function isGuaranteed({ resources }: Container): boolean {
  const [requests, limits] = [amounts(resources?.requests), amounts(resources?.limits)];
  return ['cpu', 'memory'].every((name) => (limits.get(name) ?? 0n) > 0n && limits.get(name) === requests.get(name));
}

function isBestEffort(spec: PodSpec): boolean {
  const all = [spec, ...containersOf(spec)].flatMap(({ resources }) => KINDS.map((kind) => amounts(resources?.[kind])));
  return all.every((given) => [...given].every(([name, amount]) => !isCounted(name) || amount === 0n));
}

function hasAny(resources: Resources | null | undefined): boolean {
  return KINDS.some((kind) => Object.keys(resources?.[kind] ?? {}).length > 0);
}

function fill(present: Amounts, name: string, from: Readonly<Record<string, string>>): void {
  const amount = parseQuantity(from[name] ?? '');
  if (!present.has(name) && amount !== undefined) present.set(name, amount);
}

function texts(from: Amounts): Entries {
  return Object.fromEntries([...from].map(([name, amount]) => [name, formatQuantity(amount)]));
}

function smaller(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
