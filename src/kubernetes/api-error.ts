/** The one error that talking to the API server ends in. */

interface ApiErrorCause {
  readonly reason?: string;
  readonly message?: string;
  readonly field?: string;
}

/** `Status.details`: what the refusal was about. */
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
  /** How long the server asked to be left alone. */
  readonly retryAfterSeconds: number | undefined;

  constructor(message: string, { status, reason, details, retryAfterSeconds, cause }: ApiErrorInit) {
    super(message, cause === undefined ? undefined : { cause });
    this.status = status;
    this.reason = reason;
    this.details = details;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** With a reason: whether it is that very refusal. */
export const isApiError = (error: unknown, reason?: string): error is ApiError =>
  error instanceof ApiError && (reason === undefined || error.reason === reason);
