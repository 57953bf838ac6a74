/** One watch: from its request to its end, event by event. */

import type { Clock } from '../clock.ts';
import { Deadline } from '../deadline.ts';
import { JsonLines } from '../json-lines.ts';
import type { PartialObjectMetadata, WatchEvent } from '../objects.ts';
import { STREAMED } from './answers.ts';
import { type ApiRequest, type ExchangeContext, exchange, failure } from './exchange.ts';
import { errorOfStatus, invalidResponseError, networkError } from './status-error.ts';

/** etcd stores no object above 1.5 MB, unless configured to; its JSON with managed fields is a small multiple. */
const MAX_LINE_BYTES = 16 * 1024 * 1024;

export interface WatchStreamOptions {
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** For the answer's head. */
  readonly timeoutMs: number;
  /** The longest silence of a healthy watch, in milliseconds: after it the connection is dropped (Timeout). */
  readonly quietMs: number;
  readonly observe: (status: number) => void;
  readonly onAccepted?: (() => void) | undefined;
}

/**
 * Ends when the server ends it.
 * @throws ApiError when the server refuses, sends an ERROR event or garbage, is cut or falls silent; the signal's reason
 */
export async function* watchStream<T>(
  context: ExchangeContext,
  request: ApiRequest,
  options: WatchStreamOptions,
): AsyncGenerator<WatchEvent<T>, void, undefined> {
  const { signal, clock, timeoutMs, quietMs, observe, onAccepted } = options;
  using deadline = new Deadline(signal, clock, timeoutMs);
  const response = await exchange(context, request, 'watches', STREAMED, deadline, timeoutMs);
  observe(response.statusCode);
  onAccepted?.();
  const lines = new JsonLines('a watch', MAX_LINE_BYTES);
  const chunks = (response.body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
  try {
    deadline.extend(quietMs);
    for (;;) {
      const chunk = await next(chunks, request, deadline, quietMs);
      if (chunk === undefined) break;
      const whole = lines.push(chunk);
      // Empty lines, and a line that never ends, are silence too: whatever keeps a connection alive says nothing of the server behind it.
      if (whole.length === 0) continue;
      // Only the server's silence counts, not what the reader takes between two events.
      deadline.hold();
      for (const line of whole) yield parseEvent<T>(request.what, line);
      deadline.extend(quietMs);
    }
  } finally {
    response.body.destroy();
  }
  if (lines.pending > 0) throw networkError(request.what, new Error('the stream was cut in the middle of an event'));
}

async function next(
  chunks: AsyncIterator<Uint8Array>,
  request: ApiRequest,
  deadline: Deadline,
  quietMs: number,
): Promise<Uint8Array | undefined> {
  try {
    const result = await chunks.next();
    return result.done === true ? undefined : result.value;
  } catch (error) {
    throw failure(request, error, deadline, quietMs);
  }
}

interface RawEvent {
  readonly type?: unknown;
  readonly object?: { readonly metadata?: unknown } | null;
}

function parseEvent<T>(what: string, line: string): WatchEvent<T> {
  const { type, object } = parseLine(what, line);
  if (type === 'ERROR') throw errorOfStatus(what, object, 0);
  if (typeof object?.metadata !== 'object' || object.metadata === null) {
    throw invalidResponseError(what, 'an event without an object');
  }
  // Boundary of trust: the API server keeps its own schema.
  if (type === 'BOOKMARK') return { type, object: object as PartialObjectMetadata };
  if (type === 'ADDED' || type === 'MODIFIED' || type === 'DELETED') return { type, object: object as T };
  throw invalidResponseError(what, 'an event of an unknown type');
}

function parseLine(what: string, line: string): RawEvent {
  let event: unknown;
  try {
    event = JSON.parse(line);
  } catch {
    throw invalidResponseError(what, 'a line that is not JSON');
  }
  if (typeof event !== 'object' || event === null) throw invalidResponseError(what, 'a line that is not an object');
  return event;
}
