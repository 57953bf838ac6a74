/** Reads a status as the API server serves it. Others write into it too: conditions of their own, or by hand. */
import type * as z from 'zod';
import { isRecord } from '../text/is-record.ts';

type Path = readonly PropertyKey[];

/**
 * A field, or a condition, that the schema refuses is left out, and all else stays: a status that was taken for empty would lose the
 * times of its conditions, and would differ for ever from what it should be.
 */
export function readableStatus<S extends z.ZodObject>(schema: S, raw: unknown): z.output<S> | undefined {
  const whole = schema.safeParse(raw ?? {});
  if (whole.success || !isRecord(raw)) return whole.data;
  return schema.safeParse(without(raw, whole.error.issues)).data;
}

function without(raw: Readonly<Record<string, unknown>>, issues: readonly { readonly path: Path }[]): object {
  const refused = { fields: new Set<PropertyKey>(), conditions: new Set<PropertyKey>() };
  for (const { path } of issues) {
    const [field, index] = path;
    if (field === 'conditions' && index !== undefined) refused.conditions.add(index);
    else if (field !== undefined) refused.fields.add(field);
  }
  const rest = Object.fromEntries(Object.entries(raw).filter(([field]) => !refused.fields.has(field)));
  const { conditions } = rest;
  if (!Array.isArray(conditions)) return rest;
  return { ...rest, conditions: conditions.filter((_, index) => !refused.conditions.has(index)) };
}
