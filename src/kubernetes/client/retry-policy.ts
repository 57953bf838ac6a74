/** Which failed calls are retried, and when. Pure. */

import type { ApiError } from '../api-error.ts';
import { backoffMs } from '../backoff.ts';

/**
 * `repeatable`: doing it twice is doing it once (reads, server-side apply, a delete bound to a UID).
 * `once`: if the first try went through unseen, a second one does something else (a create then answers AlreadyExists, an
 * update Conflict): only its caller can tell what that means.
 */
export type Repeatability = 'repeatable' | 'once';

const BASE_DELAY_MS = 100;
const MAX_DELAY_MS = 5_000;
/** Asked to wait for longer than this, a call fails instead: its caller waits in a queue or a watch loop, which honour it. */
const MAX_WAIT_SECONDS = 30;

/** The connection never came to be, so the server cannot have seen the request. */
const NEVER_SENT: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

const TRANSIENT_STATUS: ReadonlySet<number> = new Set([500, 502, 503, 504]);

function causeCode(error: ApiError): string | undefined {
  const { cause } = error;
  if (typeof cause !== 'object' || cause === null || !('code' in cause)) return undefined;
  return typeof cause.code === 'string' ? cause.code : undefined;
}

function mayRetry(error: ApiError, repeatability: Repeatability): boolean {
  // Priority and Fairness rejects requests before they are processed.
  if (error.status === 429) return true;
  // An API server that is starting or stopping says so, with Retry-After, and does nothing. A 503 without it may be a proxy's,
  // about a request that it had passed on.
  if (error.status === 503 && error.retryAfterSeconds !== undefined) return true;
  if (error.reason === 'Network' && NEVER_SENT.has(causeCode(error) ?? '')) return true;
  if (repeatability === 'once') return false;
  return (
    error.reason === 'Network' ||
    (error.reason === 'Timeout' && error.status === 0) ||
    TRANSIENT_STATUS.has(error.status)
  );
}

/**
 * Milliseconds to wait before trying again, or undefined when the error is final.
 * @param attempt how many tries were made, the first being 1
 * @param random in [0, 1)
 */
export function retryDelay(
  error: ApiError,
  repeatability: Repeatability,
  attempt: number,
  random: number,
): number | undefined {
  if (!mayRetry(error, repeatability)) return undefined;
  const backoff = { baseMs: BASE_DELAY_MS, maxMs: MAX_DELAY_MS, random: () => random };
  const asked = error.retryAfterSeconds;
  if (asked === undefined) return backoffMs(attempt, backoff);
  if (asked > MAX_WAIT_SECONDS) return undefined;
  // Never earlier than asked; spread, so that those turned away together do not come back together.
  return asked * 1000 + backoffMs(attempt, { ...backoff, jitter: 1 });
}
