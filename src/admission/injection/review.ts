/** AdmissionReview, admission.k8s.io/v1: reads the request, writes the response. */
import { z } from 'zod';
import { type InjectionOptions, inject } from './inject.ts';
import type { AdmittedPod } from './pod.ts';
import type { RandomBytes } from './secret-name.ts';
import { fitWarnings } from './warning.ts';

const API_VERSION = 'admission.k8s.io/v1';
const KIND = 'AdmissionReview';

/** The review cannot be answered: no correct configuration makes the API server send it. */
export class ReviewError extends Error {
  readonly code = 'BAD_REVIEW';
  override readonly name = 'ReviewError';
}

const envelopeSchema = z.object({ apiVersion: z.string(), kind: z.string() });

const requestSchema = z.object({
  uid: z.string().min(1),
  operation: z.enum(['CREATE', 'UPDATE', 'DELETE', 'CONNECT']),
  resource: z.object({ group: z.string().default(''), version: z.string(), resource: z.string() }),
  subResource: z.string().optional(),
});

const entries = z.record(z.string(), z.string()).nullish();
const container = z.looseObject({
  name: z.string(),
  volumeMounts: z.array(z.looseObject({ name: z.string(), mountPath: z.string() })).nullish(),
  volumeDevices: z.array(z.looseObject({ devicePath: z.string() })).nullish(),
  securityContext: z.looseObject({ runAsUser: z.number().nullish() }).nullish(),
});
/** Loose: fields that are not named here are kept. */
const podSchema = z.looseObject({
  metadata: z.looseObject({ labels: entries, annotations: entries }),
  spec: z.looseObject({
    volumes: z.array(z.looseObject({ name: z.string() })).nullish(),
    containers: z.array(container).nullish(),
    initContainers: z.array(container).nullish(),
    securityContext: z.looseObject({ fsGroup: z.number().nullish(), runAsUser: z.number().nullish() }).nullish(),
    schedulingGates: z.array(z.looseObject({ name: z.string() })).nullish(),
    nodeName: z.string().nullish(),
    hostPID: z.boolean().nullish(),
    shareProcessNamespace: z.boolean().nullish(),
  }),
});

export interface Admission {
  readonly outcome: 'injected' | 'unchanged';
  /** The AdmissionReview to answer with, as JSON. */
  readonly body: string;
  readonly warnings: readonly string[];
}

/**
 * Answers one review: every pod is allowed, and one that is being created may get a patch. There are no side effects, so a dry run
 * needs no special case (sideEffects None).
 * @param text the AdmissionReview as JSON
 * @throws {ReviewError} when the text is not a review of this version
 */
export function admit(text: string, random: RandomBytes, options: InjectionOptions = {}): Admission {
  const { request, object } = readReview(text);
  const { uid, operation, resource, subResource = '' } = request;
  const isNewPod =
    operation === 'CREATE' && resource.group === '' && resource.resource === 'pods' && subResource === '';
  if (!isNewPod) return answer(uid, [], []);
  const { patch, warnings } = inject(readPod(object), random, options);
  return answer(uid, patch, fitWarnings(warnings));
}

function answer(uid: string, patch: readonly object[], warnings: readonly string[]): Admission {
  const response = {
    uid,
    allowed: true,
    ...(patch.length === 0
      ? {}
      : { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') }),
    ...(warnings.length === 0 ? {} : { warnings }),
  };
  const body = JSON.stringify({ apiVersion: API_VERSION, kind: KIND, response });
  return { outcome: patch.length === 0 ? 'unchanged' : 'injected', body, warnings };
}

function readReview(text: string) {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw new ReviewError(`expected an ${KIND} as JSON, and the body is not JSON (${text.length} characters)`, {
      cause,
    });
  }
  const { apiVersion, kind } = parse(envelopeSchema, raw, 'review');
  if (apiVersion !== API_VERSION || kind !== KIND) {
    throw new ReviewError(
      `expected ${KIND} of ${API_VERSION}, found ${kind.slice(0, 80)} of ${apiVersion.slice(0, 80)}: set admissionReviewVersions to [v1]`,
    );
  }
  const { request: rawRequest } = raw as { readonly request?: unknown };
  const request = parse(requestSchema, rawRequest, 'request');
  return { request, object: (rawRequest as { readonly object?: unknown }).object };
}

function readPod(object: unknown): AdmittedPod {
  // A loose object keeps every field, so the type is narrower than the value.
  return parse(podSchema, object, 'request.object') as AdmittedPod;
}

function parse<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const path = [what, ...(issue?.path ?? [])].join('.').slice(0, 120);
  throw new ReviewError(`${path}: ${issue?.message ?? 'is invalid'}`, { cause: result.error });
}
