/** What a namespace's LimitRanges say, as far as they can refuse a pod for the resources of its containers. */
import { isRecord } from '../../text/is-record.ts';
import { type Entries, RESOURCE_NAMES } from './pod.ts';
import { amounts, type Totals } from './pod-resources.ts';
import { formatQuantity, parseQuantity } from './quantity.ts';

/** An item of a LimitRange's `spec.limits`. */
export interface LimitRangeItem {
  readonly type: string;
  readonly default?: Entries;
  readonly defaultRequest?: Entries;
  readonly min?: Entries;
  readonly max?: Entries;
  readonly maxLimitRequestRatio?: Entries;
}

const TYPES: readonly string[] = ['Container', 'Pod'];
const FIELDS = ['default', 'defaultRequest', 'max', 'maxLimitRequestRatio', 'min'] as const;
/** More than any namespace has; each costs every admission there. */
const MAX_ITEMS = 64;

/**
 * The items for containers and pods in a list of LimitRange objects, and of each only what the agent's resources depend on: it is
 * small, however large the objects. Anything of another shape is skipped.
 */
export function readLimitRanges(objects: readonly unknown[]): readonly LimitRangeItem[] {
  const items = objects.flatMap((object): readonly unknown[] => {
    const limits = (object as { readonly spec?: { readonly limits?: unknown } } | null)?.spec?.limits;
    return Array.isArray(limits) ? limits : [];
  });
  return items.flatMap((item) => readItem(item) ?? []).slice(0, MAX_ITEMS);
}

function readItem(item: unknown): LimitRangeItem | undefined {
  if (!isRecord(item)) return undefined;
  const type = TYPES.find((one) => one === item['type']);
  if (type === undefined) return undefined;
  const fields = FIELDS.filter((field) => item[field] !== undefined);
  if (!fields.every((field) => isQuantities(item[field]))) return undefined;
  return { type, ...Object.fromEntries(fields.map((field) => [field, quantitiesOf(item[field] as Entries)])) };
}

function isQuantities(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.values(value).every((text) => typeof text === 'string');
}

function quantitiesOf(entries: Entries): Entries {
  const kept = RESOURCE_NAMES.flatMap((name) => {
    const text = entries[name];
    return text === undefined || parseQuantity(text) === undefined ? [] : [[name, text] as const];
  });
  return Object.fromEntries(kept);
}

/**
 * Why an item for pods refuses a pod with these resources, as LimitRanger decides it: a minimum demands a request, a maximum a limit,
 * a ratio both, and the other one counts where it is set. None for items of another type.
 */
export function podRefusals(
  { max, maxLimitRequestRatio, min, type }: LimitRangeItem,
  { limits, requests }: Totals,
): readonly string[] {
  if (type !== 'Pod') return [];
  return [
    ...[...amounts(min)].flatMap(([name, least]) => {
      const [request, limit] = [requests.get(name), limits.get(name)];
      const isMet = request !== undefined && request >= least && (limit === undefined || limit >= least);
      return isMet ? [] : [`${name}: at least ${formatQuantity(least)} for all containers`];
    }),
    ...[...amounts(max)].flatMap(([name, most]) => {
      const [request, limit] = [requests.get(name), limits.get(name)];
      const isMet = limit !== undefined && limit <= most && (request === undefined || request <= most);
      return isMet ? [] : [`${name}: at most ${formatQuantity(most)} for all containers`];
    }),
    ...[...amounts(maxLimitRequestRatio)].flatMap(([name, ratio]) => {
      const [request, limit] = [requests.get(name) ?? 0n, limits.get(name) ?? 0n];
      // All in thousandths, the ratio too.
      const isMet = request > 0n && limit > 0n && limit * 1_000n <= ratio * request;
      return isMet ? [] : [`${name}: limits at most ${formatQuantity(ratio)} times the requests of all containers`];
    }),
  ];
}
