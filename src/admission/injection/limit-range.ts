/** What a namespace's LimitRanges say, as far as they can refuse a pod for one of its containers. */
import type { Entries } from './pod.ts';

/** An item of a LimitRange's `spec.limits`. */
export interface LimitRangeItem {
  readonly type: string;
  readonly default?: Entries;
  readonly defaultRequest?: Entries;
  readonly min?: Entries;
  readonly max?: Entries;
  readonly maxLimitRequestRatio?: Entries;
}

const TYPES: ReadonlySet<string> = new Set(['Container', 'Pod']);
const FIELDS = ['default', 'defaultRequest', 'max', 'maxLimitRequestRatio', 'min'];
/** More than any namespace has; each costs every admission there. */
const MAX_ITEMS = 64;

/** The items for containers and pods in a list of LimitRange objects. Anything of another shape is skipped. */
export function readLimitRanges(objects: readonly unknown[]): readonly LimitRangeItem[] {
  const items = objects.flatMap((object) => {
    const limits = (object as { readonly spec?: { readonly limits?: unknown } } | null)?.spec?.limits;
    return Array.isArray(limits) ? limits : [];
  });
  return items.filter(isItem).slice(0, MAX_ITEMS);
}

function isItem(item: unknown): item is LimitRangeItem {
  if (typeof item !== 'object' || item === null) return false;
  const { type, ...rest } = item as Record<string, unknown>;
  return typeof type === 'string' && TYPES.has(type) && FIELDS.every((field) => isQuantities(rest[field]));
}

function isQuantities(value: unknown): boolean {
  if (value === undefined) return true;
  return typeof value === 'object' && value !== null && Object.values(value).every((text) => typeof text === 'string');
}
