/** The error of every failed call to the API server. */

interface ApiErrorCause {
  readonly reason?: string;
  readonly message?: string;
  readonly field?: string;
}

/** `Status.details`: what was refused. */
export interface ApiErrorDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly ApiErrorCause[];
  readonly retryAfterSeconds?: number;
}

export interface ApiErrorInit {
  readonly status: number;
  readonly reason: string;
  readonly details?: ApiErrorDetails | undefined;
  readonly retryAfterSeconds?: number | undefined;
  readonly cause?: unknown;
}

export class ApiError extends Error {
  readonly code = 'ApiError';
  override readonly name = 'ApiError';
  /** The HTTP status; 0 when no answer came. */
  readonly status: number;
  /**
   * `Status.reason` as the API server has it (NotFound, AlreadyExists, Conflict, Invalid, Forbidden, Expired, ...), one derived
   * from the HTTP status where an answer has none, or 'Network' and 'Timeout' with status 0.
   */
  readonly reason: string;
  readonly details: ApiErrorDetails | undefined;
  /** The server's Retry-After: seconds before which no other try is welcome. 0 to MAX_RETRY_AFTER_SECONDS. */
  readonly retryAfterSeconds: number | undefined;

  constructor(message: string, { status, reason, details, retryAfterSeconds, cause }: ApiErrorInit) {
    super(message, cause === undefined ? undefined : { cause });
    this.status = status;
    this.reason = reason;
    this.details = details;
    this.retryAfterSeconds = boundedRetryAfter(retryAfterSeconds);
  }
}

/**
 * No server is obeyed for longer: a Retry-After of a year, from a proxy or by mistake, would stop a loop for good. API Priority and
 * Fairness asks for 1 to 60 seconds.
 */
const MAX_RETRY_AFTER_SECONDS = 300;

/** Causes are followed this deep. */
const MAX_CAUSES = 8;

/** The Retry-After of the ApiError that this error is or was caused by, in milliseconds; undefined without one. */
export function retryAfterMs(error: unknown): number | undefined {
  const asked = apiErrorsOf(error).find(({ retryAfterSeconds }) => retryAfterSeconds !== undefined)?.retryAfterSeconds;
  return asked === undefined ? undefined : asked * 1000;
}

/** Whether the error is, or was caused by, a call that the API server did not answer, or failed to serve. */
export function isUnavailable(error: unknown): boolean {
  return apiErrorsOf(error).some(({ status }) => isUnanswered(status) || status === INTERNAL_ERROR);
}

/** What the API server answers while etcd is away, and for an admission webhook that fails. */
export const INTERNAL_ERROR = 500;

/** No answer, or one of a proxy or of a server that is starting. */
export function isUnanswered(status: number): boolean {
  return status === 0 || status === 502 || status === 503 || status === 504;
}

/** The error and its causes, as far as they are ApiErrors. */
function apiErrorsOf(error: unknown): readonly ApiError[] {
  const found: ApiError[] = [];
  let current = error;
  for (let depth = 0; depth < MAX_CAUSES && current instanceof Error; depth += 1) {
    if (current instanceof ApiError) found.push(current);
    current = current.cause;
  }
  return found;
}

/** With a reason: whether it is that very refusal. */
export const isApiError = (error: unknown, reason?: string): error is ApiError =>
  error instanceof ApiError && (reason === undefined || error.reason === reason);

/**
 * Whether the API server has no such object. It answers 404, and names no object, also for a kind that it does not serve: one
 * that is starting has not read the CustomResourceDefinitions yet, and the object may well be there. See docs/adr/0082.
 */
export const isMissing = (error: unknown): error is ApiError =>
  isApiError(error, 'NotFound') && error.details?.name !== undefined;

/** Foreign input: a body may hold any number. */
function boundedRetryAfter(seconds: number | undefined): number | undefined {
  if (seconds === undefined || Number.isNaN(seconds)) return undefined;
  return Math.min(MAX_RETRY_AFTER_SECONDS, Math.max(0, seconds));
}
