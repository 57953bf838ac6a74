/** AdmissionReview, admission.k8s.io/v1: reads the request, writes the response. */
import { INJECT_KEY } from '../../api/keys.ts';
import { isDnsLabel } from '../../text/dns-name.ts';
import { printable } from '../../text/printable.ts';
import { type Injection, type InjectionOptions, inject } from './inject.ts';
import { requestsAgent } from './inject-agent.ts';
import type { LimitRangeItem } from './limit-range.ts';
import type { AdmittedPod } from './pod.ts';
import { readAdmittedPod } from './read-pod.ts';
import { TOO_LARGE } from './refusal.ts';
import { ReviewError } from './review-error.ts';
import type { RandomBytes } from './secret-name.ts';
import { fitWarnings } from './warning.ts';

const API_VERSION = 'admission.k8s.io/v1';
const KIND = 'AdmissionReview';
const OPERATIONS: ReadonlySet<string> = new Set(['CREATE', 'UPDATE', 'DELETE', 'CONNECT']);
const MAX_UID_LENGTH = 128;

export interface Admission {
  readonly outcome: 'injected' | 'unchanged';
  /** The AdmissionReview to answer with, as JSON. */
  readonly body: string;
  readonly warnings: readonly string[];
}

/** A review that was read, ready to be answered. */
export interface Review {
  readonly uid: string;
  /** Undefined: not a pod that is being created. */
  readonly pod: AdmittedPod | undefined;
  readonly namespace: string | undefined;
  /** The answer depends on the LimitRanges of its namespace. */
  readonly needsLimitRanges: boolean;
  /** Of the request's body. */
  readonly bytes: number;
}

/**
 * @param text the AdmissionReview as JSON
 * @throws {ReviewError} when the text is not a review of this version
 */
export function readReview(text: string): Review {
  const { apiVersion, kind, request } = record(parseJson(text), 'review');
  if (apiVersion !== API_VERSION || kind !== KIND) {
    throw new ReviewError(
      `expected ${KIND} of ${API_VERSION}, found ${shown(kind)} of ${shown(apiVersion)}: set admissionReviewVersions to [v1]`,
    );
  }
  const { namespace, object, operation, resource, subResource, uid } = record(request, 'request');
  if (typeof uid !== 'string' || uid === '' || uid.length > MAX_UID_LENGTH)
    throw new ReviewError(`request.uid: expected 1 to ${MAX_UID_LENGTH} characters`);
  if (typeof operation !== 'string' || !OPERATIONS.has(operation))
    throw new ReviewError(`request.operation: expected one of ${[...OPERATIONS].join(', ')}`);
  const { group = '', resource: plural } = record(resource, 'request.resource');
  const isNewPod = operation === 'CREATE' && group === '' && plural === 'pods' && (subResource ?? '') === '';
  const pod = isNewPod ? readAdmittedPod(object) : undefined;
  return {
    uid,
    pod,
    namespace: namespaceOf(namespace),
    needsLimitRanges: pod !== undefined && requestsAgent(pod),
    bytes: text.length,
  };
}

/**
 * Answers one review: every pod is allowed, and one that is being created may get a patch. There are no side effects, so a dry run
 * needs no special case (sideEffects None).
 */
export function answerReview(
  { bytes, pod, uid }: Review,
  random: RandomBytes,
  options: InjectionOptions = {},
  limitRanges: readonly LimitRangeItem[] = [],
): Admission {
  if (pod === undefined) return answer(uid, { patch: [], warnings: [], injected: [] });
  return answer(uid, inject(pod, random, options, { limitRanges, bytes }));
}

/**
 * Answers a review whose body is too large to be read: the pod is allowed as it is, with a warning.
 * @param beginning of the body; the API server writes the uid before the object
 * @throws {ReviewError} when the uid is not in there
 */
export function answerUnread(beginning: string): Admission {
  const uid =
    /^\{"kind":"AdmissionReview","apiVersion":"admission\.k8s\.io\/v1","request":\{"uid":"([-0-9a-zA-Z]{1,128})"/.exec(
      beginning,
    )?.[1];
  if (uid === undefined)
    throw new ReviewError(`the body is too large, and does not begin as an ${KIND} of ${API_VERSION}`);
  return answer(uid, { patch: [], warnings: [`dcred.dev: ${INJECT_KEY}: not injected: ${TOO_LARGE}`], injected: [] });
}

function answer(uid: string, { injected, patch, warnings }: Injection): Admission {
  const fitting = fitWarnings(warnings);
  const response = {
    uid,
    allowed: true,
    ...(patch.length === 0
      ? {}
      : { patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') }),
    ...(fitting.length === 0 ? {} : { warnings: fitting }),
  };
  const body = JSON.stringify({ apiVersion: API_VERSION, kind: KIND, response });
  return { outcome: injected.length === 0 ? 'unchanged' : 'injected', body, warnings: fitting };
}

/** What the API server and the log are given: a stranger may have written it, in megabytes. */
function namespaceOf(value: unknown): string | undefined {
  // A review of an object that is in no namespace.
  if (value === undefined || value === '') return undefined;
  if (typeof value !== 'string' || !isDnsLabel(value))
    throw new ReviewError(`request.namespace: expected the name of a namespace, found ${shown(value)}`);
  return value;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Without the cause: its message quotes the body.
    throw new ReviewError(`expected an ${KIND} as JSON, and the body is not JSON (${text.length} characters)`);
  }
}

function record(value: unknown, path: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new ReviewError(`${path}: expected an object`);
}

function shown(value: unknown): string {
  return typeof value === 'string' ? printable(value, 80) : typeof value;
}
