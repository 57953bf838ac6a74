/** Reads and validates a DelegationGrant as the API server serves it. */
import * as z from 'zod';
import { printable } from '../text/printable.ts';
import { describeSchemaProblems } from '../text/schema-problem.ts';
import {
  type DelegationGrantResource,
  type DelegationGrantStatus,
  grantSpecSchema,
  grantStatusSchema,
} from './delegation-grant.ts';
import { objectMetadata } from './schema-parts.ts';

/** A grant whose spec the schema refuses. It permits nothing. */
export interface UnreadableGrant {
  readonly metadata: DelegationGrantResource['metadata'];
  readonly status: DelegationGrantStatus;
  /** What is wrong, in one line, with the path of every field. */
  readonly problem: string;
}

/**
 * Reads one object. The cluster's CRD may be older than this program, or newer: a field that this version does not know may
 * narrow the grant, so that a grant with one permits nothing.
 * Throws only for an object without metadata, which no API server sends.
 */
export function readDelegationGrant(raw: unknown): DelegationGrantResource | UnreadableGrant {
  const { metadata } = z.object({ metadata: objectMetadata }).parse(raw);
  const { spec: rawSpec, status: rawStatus } = raw as { readonly spec?: unknown; readonly status?: unknown };
  const status = grantStatusSchema.safeParse(rawStatus ?? {}).data ?? {};
  const spec = grantSpecSchema.safeParse(rawSpec);
  if (!spec.success)
    return {
      metadata,
      status,
      problem: describeSchemaProblems(spec.error.issues, { schema: grantSpecSchema, value: rawSpec, root: 'spec' }),
    };
  const unknown = unknownField(rawSpec, spec.data, 'spec');
  if (unknown === undefined) return { metadata, spec: spec.data, status };
  return { metadata, status, problem: `${printable(unknown)}: this version of dcred does not know the field` };
}

export function isReadableGrant(grant: DelegationGrantResource | UnreadableGrant): grant is DelegationGrantResource {
  return 'spec' in grant;
}

/** The path of the first field that the schema dropped. */
function unknownField(raw: unknown, parsed: unknown, path: string): string | undefined {
  if (typeof raw !== 'object' || raw === null || typeof parsed !== 'object' || parsed === null) return undefined;
  for (const [key, value] of Object.entries(raw)) {
    const inner = Array.isArray(raw) ? `${path}[${key}]` : `${path}.${key}`;
    if (!Object.hasOwn(parsed, key)) return inner;
    const inside = unknownField(value, Reflect.get(parsed, key), inner);
    if (inside !== undefined) return inside;
  }
  return undefined;
}
