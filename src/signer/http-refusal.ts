/** What a call is answered where it gets no result: an HTTP status and a message that expects no knowledge of what others may do. */
import { TooManyReviewsError } from '../serving/token-reviews.ts';
import { GrantsUnreadableError } from './granted-uses.ts';
import { ProtocolError } from './protocol.ts';
import { OverloadedError } from './signing-queue.ts';

/** Answered with this HTTP status and message. */
export class HttpRefusal extends Error {
  override readonly name = 'HttpRefusal';
  readonly code = 'HttpRefusal';
  readonly status: number;
  readonly retryAfterSeconds: number | undefined;

  constructor(status: number, message: string, retryAfterSeconds?: number) {
    super(message);
    this.status = status;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** Undefined for what is a fault of this program. */
export function asRefusal(error: unknown): HttpRefusal | undefined {
  if (error instanceof HttpRefusal) return error;
  if (error instanceof ProtocolError) return new HttpRefusal(400, error.message);
  if (error instanceof OverloadedError || error instanceof TooManyReviewsError) {
    return new HttpRefusal(429, error.message, 1);
  }
  if (error instanceof GrantsUnreadableError) return new HttpRefusal(503, error.message, 1);
  return undefined;
}

/** As a Kubernetes API server answers, so that one reader of errors serves a client of both. */
export function statusBody(refusal: HttpRefusal | undefined): object {
  const { message, status: code } = refusal ?? { message: 'the signer cannot answer now: try again', status: 503 };
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', code, message };
}
