/** One request to the API server and the head of its answer: credentials, their refresh, and every failure as an ApiError. */

import { ApiError } from '../api-error.ts';
import type { ConnectionCredentials } from '../connection/connection.ts';
import type { Deadline } from '../deadline.ts';
import { type Answer, AnswerTooLargeError, isSuccess, type Receiver } from './answers.ts';
import { clockSkewMs } from './clock-skew.ts';
import { errorOfStatus, networkError, parseRetryAfter, timeoutError } from './status-error.ts';
import type { Pools, Transport } from './transport.ts';

export interface ApiRequest {
  readonly verb: 'get' | 'list' | 'watch' | 'create' | 'update' | 'apply' | 'patch' | 'delete';
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** For messages and metrics: `pods`, `leases`, `delegatedcredentials/status`. */
  readonly plural: string;
  /** For messages: `get secrets default/web`. */
  readonly what: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly accept: string;
  readonly contentType?: string;
  readonly body?: string | Uint8Array;
  /** Further ones. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Of a whole answer. */
  readonly maxBytes?: number | undefined;
}

export interface ExchangeContext {
  readonly transport: Transport;
  readonly userAgent: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Called with every answer that has a `Date`. */
  readonly onSkew: (skewMs: number) => void;
}

/**
 * Sends it and returns the answer when it is a success. After a 401 it is sent once more with fresh credentials.
 * @throws ApiError for every other answer, and for none; the parent's abort reason when that is what happened
 */
export async function exchange<A extends Answer>(
  context: ExchangeContext,
  request: ApiRequest,
  pool: keyof Pools,
  receiver: Receiver<A>,
  deadline: Deadline,
  ms: number,
): Promise<A> {
  let credentials = await credentialsFor(context, request, deadline, ms);
  let answer = await send(context, request, pool, receiver, deadline, ms, credentials);
  if (answer.statusCode === 401) {
    const fresh = await credentialsFor(context, request, deadline, ms, credentials);
    if (fresh !== credentials) {
      await receiver.errorText(answer).catch(() => '');
      credentials = fresh;
      answer = await send(context, request, pool, receiver, deadline, ms, credentials);
    }
  }
  if (isSuccess(answer)) return answer;
  throw await refusal(context, request, receiver, answer, deadline, ms);
}

/** Credentials may come from a plug-in or a disk that hangs: like the server, they have until the deadline. */
async function credentialsFor(
  { transport }: ExchangeContext,
  request: ApiRequest,
  deadline: Deadline,
  ms: number,
  rejected?: ConnectionCredentials,
): Promise<ConnectionCredentials> {
  try {
    return await untilEnd(transport.credentials(rejected), deadline);
  } catch (error) {
    if (deadline.ended) throw failure(request, error, deadline, ms);
    throw error;
  }
}

async function send<A extends Answer>(
  context: ExchangeContext,
  request: ApiRequest,
  pool: keyof Pools,
  receiver: Receiver<A>,
  deadline: Deadline,
  ms: number,
  credentials: ConnectionCredentials,
): Promise<A> {
  const { transport, userAgent } = context;
  const own = { accept: request.accept, 'user-agent': userAgent };
  const headers: Record<string, string> = { ...request.headers, ...credentials.headers, ...own };
  if (request.contentType !== undefined) headers['content-type'] = request.contentType;
  const sentMs = context.now();
  try {
    const path = `${transport.basePath}${request.path}${queryOf(request.query)}`;
    const options = { method: request.method, path, headers, body: request.body ?? null };
    return await receiver.send(transport.pools(credentials.tls)[pool], options, deadline, ({ date }) => {
      const skewMs = clockSkewMs(date, sentMs, context.now());
      if (skewMs !== undefined) context.onSkew(skewMs);
    });
  } catch (error) {
    throw failure(request, error, deadline, ms);
  }
}

/** The error of a request whose answer broke off or never began. */
export function failure(request: ApiRequest, error: unknown, deadline: Deadline, ms: number): unknown {
  if (error instanceof ApiError) return error;
  if (deadline.expired) return timeoutError(request.what, ms);
  if (deadline.ended) return deadline.reason;
  const limit = exceededLimit(error);
  if (limit === undefined) return networkError(request.what, error);
  const message = `${request.what}: the answer exceeds the ${limit} that are read`;
  return new ApiError(message, { status: 0, reason: 'ResponseTooLarge' });
}

/** The caller's own limit, or that of all answers. */
function exceededLimit(error: unknown): string | undefined {
  if (error instanceof AnswerTooLargeError) return `${error.maxBytes / 1024} KiB`;
  return error instanceof Error && 'code' in error && error.code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE'
    ? '16 MiB'
    : undefined;
}

async function refusal<A extends Answer>(
  context: ExchangeContext,
  request: ApiRequest,
  receiver: Receiver<A>,
  answer: A,
  deadline: Deadline,
  ms: number,
): Promise<unknown> {
  const retryAfter = answer.headers['retry-after'];
  const retryAfterSeconds = parseRetryAfter(typeof retryAfter === 'string' ? retryAfter : undefined, context.now());
  try {
    const text = await receiver.errorText(answer);
    const { path, what } = request;
    return errorOfStatus(what, parsed(text), answer.statusCode, { path, retryAfterSeconds });
  } catch (error) {
    return failure(request, error, deadline, ms);
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function queryOf(query: ApiRequest['query']): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text === '' ? '' : `?${text}`;
}

/** What the promise settles to, or the deadline's reason where that ends before. */
function untilEnd<T>(promise: Promise<T>, deadline: Deadline): Promise<T> {
  return new Promise((resolve, reject) => {
    if (deadline.ended) reject(deadline.reason);
    deadline.onEnd = () => reject(deadline.reason);
    promise.then(resolve, reject);
  });
}
