/** From what the API server answers to a write to what the pod's owner has to know. */
import { ApiError, isMissing, isUnavailable } from '../kubernetes/api-error.ts';
import { PodFailure, type PodFailureReason, StaleCacheError } from './pod-failure.ts';

const MESSAGE_LENGTH = 300;

/**
 * Answers that may pass by themselves: an overloaded API server, a webhook that is restarting, a throttled client. They count as a
 * failure of the pod only once they last (see `PodFailure.transient`); every other refusal counts at once.
 */
const TRANSIENT_STATUS: ReadonlySet<number> = new Set([408, 429, 500, 502, 503, 504]);

/**
 * How the API server words a 403 of its authorizer. One that starts refuses everybody like that, until it has read the roles
 * (ADR 72). The 403 of an admission plug-in (a quota, a namespace that is being deleted) reads otherwise, and somebody has to know
 * of it at once.
 */
const NOT_AUTHORIZED = ' is forbidden: User "';

/**
 * A failure of the pod where the API server answered and refused; any other error as it is. No answer is nobody's refusal, and a
 * 401 means that the operator's own token is being renewed.
 */
export function refusal(error: unknown, code: PodFailureReason, what: string): unknown {
  if (!(error instanceof ApiError) || error.status < 400 || error.status === 401) return error;
  return new PodFailure(code, `the API server refuses ${what}: ${shortMessage(error)}`, {
    cause: error,
    transient: mayPass(error),
  });
}

/** Whether the refusal may pass by itself. A 404 that names no object is a path that is not served, or not yet (ADR 82). */
export function mayPass(error: ApiError): boolean {
  const { message, status } = error;
  if (status === 404) return !isMissing(error);
  return TRANSIENT_STATUS.has(status) || (status === 403 && message.includes(NOT_AUTHORIZED));
}

/** Whether there may be a Secret all the same: no answer is no refusal, and one that was issued already is not in the caches yet. */
export function mayHaveBeenWritten(error: unknown): boolean {
  if (error instanceof StaleCacheError) return error.resourceVersion !== undefined;
  return isUnavailable(error);
}

export function shortMessage({ message }: Error): string {
  return message.slice(0, MESSAGE_LENGTH);
}
