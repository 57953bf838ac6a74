/** One request to the API server and the head of its answer: credentials, their refresh, and every failure as an ApiError. */

import type { Dispatcher } from 'undici';
import undiciRequest from 'undici/lib/api/api-request.js';
import { ApiError } from '../api-error.ts';
import type { ConnectionCredentials } from '../connection/connection.ts';
import { type Deadline, untilAborted } from '../deadline.ts';
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
}

export interface ExchangeContext {
  readonly transport: Transport;
  readonly userAgent: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Called with every answer that has a `Date`. */
  readonly onSkew: (skewMs: number) => void;
}

/** A Status is a few hundred bytes; a proxy's page is read no further than this. */
const MAX_ERROR_BODY_BYTES = 256 * 1024;

/**
 * Sends it and returns the answer when it is a success. After a 401 it is sent once more with fresh credentials.
 * @throws ApiError for every other answer, and for none; the parent's abort reason when that is what happened
 */
export async function exchange(
  context: ExchangeContext,
  request: ApiRequest,
  pool: keyof Pools,
  deadline: Deadline,
  ms: number,
): Promise<Dispatcher.ResponseData> {
  let credentials = await credentialsFor(context, request, deadline, ms);
  let response = await send(context, request, pool, deadline, ms, credentials);
  if (response.statusCode === 401) {
    const fresh = await credentialsFor(context, request, deadline, ms, credentials);
    if (fresh !== credentials) {
      await readBounded(response.body).catch(() => '');
      credentials = fresh;
      response = await send(context, request, pool, deadline, ms, credentials);
    }
  }
  if (response.statusCode >= 200 && response.statusCode < 300) return response;
  throw await refusal(context, request, response, deadline, ms);
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
    return await untilAborted(transport.credentials(rejected), deadline.signal);
  } catch (error) {
    if (deadline.signal.aborted) throw failure(request, error, deadline, ms);
    throw error;
  }
}

async function send(
  context: ExchangeContext,
  request: ApiRequest,
  pool: keyof Pools,
  deadline: Deadline,
  ms: number,
  credentials: ConnectionCredentials,
): Promise<Dispatcher.ResponseData> {
  const { transport, userAgent } = context;
  const own = { accept: request.accept, 'user-agent': userAgent };
  const headers: Record<string, string> = { ...request.headers, ...credentials.headers, ...own };
  if (request.contentType !== undefined) headers['content-type'] = request.contentType;
  const sentMs = context.now();
  try {
    const response = await undiciRequest.call(transport.pools(credentials.tls)[pool], {
      method: request.method,
      path: `${transport.basePath}${request.path}${queryOf(request.query)}`,
      headers,
      signal: deadline.signal,
      ...(request.body !== undefined && { body: request.body }),
    });
    const skewMs = clockSkewMs(response.headers['date'], sentMs, context.now());
    if (skewMs !== undefined) context.onSkew(skewMs);
    return response;
  } catch (error) {
    throw failure(request, error, deadline, ms);
  }
}

/** The error of a request whose answer broke off or never began. */
export function failure(request: ApiRequest, error: unknown, deadline: Deadline, ms: number): unknown {
  if (error instanceof ApiError) return error;
  if (deadline.expired) return timeoutError(request.what, ms);
  if (deadline.signal.aborted) return deadline.signal.reason;
  const tooLarge = error instanceof Error && 'code' in error && error.code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE';
  if (!tooLarge) return networkError(request.what, error);
  const message = `${request.what}: the answer is larger than any that is read`;
  return new ApiError(message, { status: 0, reason: 'ResponseTooLarge' });
}

async function refusal(
  context: ExchangeContext,
  request: ApiRequest,
  response: Dispatcher.ResponseData,
  deadline: Deadline,
  ms: number,
): Promise<unknown> {
  const retryAfter = response.headers['retry-after'];
  const seconds = parseRetryAfter(typeof retryAfter === 'string' ? retryAfter : undefined, context.now());
  try {
    const text = await readBounded(response.body);
    return errorOfStatus(request.what, parsed(text), response.statusCode, seconds);
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

async function readBounded(body: Dispatcher.ResponseData['body']): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > MAX_ERROR_BODY_BYTES) break; // Leaving the loop ends the stream, and with it the connection.
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function queryOf(query: ApiRequest['query']): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text === '' ? '' : `?${text}`;
}
