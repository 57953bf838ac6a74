/** Reads and validates a DelegatedCredential as the API server serves it. */
import * as z from 'zod';
import { describeSchemaProblems } from '../text/schema-problem.ts';
import {
  type DelegatedCredentialResource,
  type DelegatedCredentialStatus,
  specSchema,
  statusSchema,
} from './delegated-credential.ts';
import { RENEW_REQUESTED_AT } from './keys.ts';
import { readableStatus } from './readable-status.ts';
import { readRenewRequest } from './renew-request.ts';
import { objectMetadata } from './schema-parts.ts';

/** A resource whose spec the schema refuses; it has a name, so that its status can say so. */
export interface UnreadableResource {
  readonly metadata: DelegatedCredentialResource['metadata'];
  readonly status: DelegatedCredentialStatus;
  /** What is wrong, in one line, with the path of every field. */
  readonly problem: string;
}

const metadataSchema = objectMetadata.extend({ annotations: z.record(z.string(), z.string()).optional() });

/**
 * Reads one object. The API server has validated it against the CRD, but the CRD may be an older one, or a patched one: an
 * object that does not fit is returned as unreadable, never thrown, so that the others are served.
 * Throws only for an object without metadata, which no API server sends.
 */
export function readDelegatedCredential(raw: unknown): DelegatedCredentialResource | UnreadableResource {
  const { annotations, ...identity } = z.object({ metadata: metadataSchema }).parse(raw).metadata;
  // The only annotation that is read: others may be as large as an object can be.
  const requested = annotations?.[RENEW_REQUESTED_AT];
  const metadata = { ...identity, ...(requested !== undefined && { renewRequestedAt: readRenewRequest(requested) }) };
  const { spec: rawSpec, status: rawStatus } = raw as { readonly spec?: unknown; readonly status?: unknown };
  const status = readableStatus(statusSchema, rawStatus) ?? {};
  const spec = specSchema.safeParse(rawSpec);
  if (spec.success) return { metadata, spec: spec.data, status };
  return {
    metadata,
    status,
    problem: describeSchemaProblems(spec.error.issues, { schema: specSchema, value: rawSpec, root: 'spec' }),
  };
}

export function isReadable(
  resource: DelegatedCredentialResource | UnreadableResource,
): resource is DelegatedCredentialResource {
  return 'spec' in resource;
}
