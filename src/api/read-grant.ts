/** Reads and validates a DelegationGrant as the API server serves it. */
import * as z from 'zod';
import { describeSchemaProblems, formatPath } from '../text/schema-problem.ts';
import {
  type DelegationGrantResource,
  type DelegationGrantStatus,
  grantSpecSchema,
  grantStatusSchema,
} from './delegation-grant.ts';
import { readableStatus } from './readable-status.ts';
import { objectMetadata } from './schema-parts.ts';

/** A grant whose spec the schema refuses. It permits nothing, and it is no proof that nothing is permitted. */
export interface UnreadableGrant {
  readonly metadata: DelegationGrantResource['metadata'];
  readonly status: DelegationGrantStatus;
  /** Of the certificate's Secret; undefined where not even that can be read. */
  readonly certificateName: string | undefined;
  /** What is wrong, in one line, with the path of every field. */
  readonly problem: string;
}

const certificateNameSchema = z.object({ certificateRef: z.object({ name: z.string() }) });

/**
 * Reads one object. The cluster's CRD may be older than this program, or newer: a field that this version does not know may
 * narrow the grant, so that a grant with one permits nothing.
 * Throws only for an object without metadata, which no API server sends.
 */
export function readDelegationGrant(raw: unknown): DelegationGrantResource | UnreadableGrant {
  const { metadata } = z.object({ metadata: objectMetadata }).parse(raw);
  const { spec: rawSpec, status: rawStatus } = raw as { readonly spec?: unknown; readonly status?: unknown };
  const status = readableStatus(grantStatusSchema, rawStatus) ?? {};
  const spec = grantSpecSchema.safeParse(rawSpec);
  if (!spec.success)
    return {
      metadata,
      status,
      certificateName: certificateNameSchema.safeParse(rawSpec).data?.certificateRef.name,
      problem: describeSchemaProblems(spec.error.issues, { schema: grantSpecSchema, value: rawSpec, root: 'spec' }),
    };
  const unknown = unknownField(rawSpec, spec.data);
  if (unknown === undefined) return { metadata, spec: spec.data, status };
  const path = formatPath(unknown, 'spec');
  const certificateName = spec.data.certificateRef.name;
  return { metadata, status, certificateName, problem: `${path}: this version of dcred does not know the field` };
}

/** Whether it may be a grant of this certificate. Where not even the name can be read, it may. */
export function mayBeOf({ certificateName }: UnreadableGrant, name: string): boolean {
  return certificateName === undefined || certificateName === name;
}

export function isReadableGrant(grant: DelegationGrantResource | UnreadableGrant): grant is DelegationGrantResource {
  return 'spec' in grant;
}

/** The path of the first field that the schema dropped. */
function unknownField(raw: unknown, parsed: unknown): readonly PropertyKey[] | undefined {
  if (typeof raw !== 'object' || raw === null || typeof parsed !== 'object' || parsed === null) return undefined;
  for (const [name, value] of Object.entries(raw)) {
    const key = Array.isArray(raw) ? Number(name) : name;
    if (!Object.hasOwn(parsed, key)) return [key];
    const inside = unknownField(value, Reflect.get(parsed, key));
    if (inside !== undefined) return [key, ...inside];
  }
  return undefined;
}
