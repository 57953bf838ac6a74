/** Makes an ApiError of what the API server answered, or of no answer. */

import { isRecord } from '../../text/is-record.ts';
import { explainOpenSsl } from '../../text/openssl-error.ts';
import { explainConnectionError } from '../../text/system-error.ts';
import { ApiError, type ApiErrorDetails } from '../api-error.ts';

/** `metav1.StatusReason` for answers that carry none: a proxy's page, an overloaded front end. */
const REASON_BY_STATUS: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  406: 'NotAcceptable',
  409: 'Conflict',
  410: 'Gone',
  413: 'RequestEntityTooLarge',
  415: 'UnsupportedMediaType',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

const MAX_MESSAGE = 1024;
const MAX_QUOTATION = 99;
const QUOTE = '"';

/** The server quotes invalid values, whole objects among them: nothing long, and so no key, is passed on. Linear in its length. */
export function boundedMessage(message: string): string {
  const short = withoutLongQuotations(message);
  return short.length <= MAX_MESSAGE ? short : `${short.slice(0, MAX_MESSAGE)} (cut)`;
}

/**
 * What is long between an opening and a closing quote, or after a quote that nothing closes, gives way to its length; so does a
 * long word outside. A backslash escapes the next character, as in the server's own quoting. Ends soon after MAX_MESSAGE characters: a
 * message may be as long as a line of a watch, and hold nothing but quotes or spaces.
 */
function withoutLongQuotations(message: string): string {
  let kept = '';
  let start = 0;
  let inQuotes = false;
  const close = (end: number): void => {
    const text = message.slice(start, end);
    const isLong = inQuotes && text.length > MAX_QUOTATION;
    kept += isLong ? `(${text.length} characters)` : inQuotes ? text : withoutLongWords(text);
  };
  for (let index = 0; index < message.length; index += 1) {
    const character = message[index];
    if (character === '\\') index += 1;
    if (character !== QUOTE) continue;
    close(index);
    kept += QUOTE;
    start = index + 1;
    inQuotes = !inQuotes;
    if (kept.length > MAX_MESSAGE) return kept;
  }
  close(message.length);
  return kept;
}

function withoutLongWords(text: string): string {
  let kept = '';
  for (let start = 0; start <= text.length && kept.length <= MAX_MESSAGE; ) {
    const space = text.indexOf(' ', start);
    const end = space === -1 ? text.length : space;
    const word = end - start > MAX_QUOTATION ? `(${end - start} characters)` : text.slice(start, end);
    kept += start === 0 ? word : ` ${word}`;
    start = end + 1;
  }
  return kept;
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? boundedMessage(value) : undefined;
}

function detailsOf(value: unknown): ApiErrorDetails | undefined {
  if (!isRecord(value)) return undefined;
  const causes = Array.isArray(value['causes']) ? value['causes'].filter(isRecord).slice(0, 50) : [];
  const { retryAfterSeconds } = value;
  const texts = {
    name: textOf(value['name']),
    group: textOf(value['group']),
    kind: textOf(value['kind']),
    uid: textOf(value['uid']),
  };
  return {
    ...withoutUndefined(texts),
    ...(causes.length > 0 && {
      causes: causes.map((cause) =>
        withoutUndefined({
          reason: textOf(cause['reason']),
          message: textOf(cause['message']),
          field: textOf(cause['field']),
        }),
      ),
    }),
    ...(typeof retryAfterSeconds === 'number' && { retryAfterSeconds }),
  };
}

function withoutUndefined<K extends string>(fields: Readonly<Record<K, string | undefined>>): { [P in K]?: string } {
  const kept: { [P in K]?: string } = {};
  for (const key in fields) {
    const value = fields[key];
    if (value !== undefined) kept[key] = value;
  }
  return kept;
}

/** Seconds, or an HTTP date (RFC 9110 section 10.2.3); undefined when it is neither. */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d{1,9}$/.test(value)) return Number(value);
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - now) / 1000));
}

/** An ERROR event of a watch carries its code in the body. */
function statusCodeOf(code: unknown): number {
  return typeof code === 'number' && Number.isInteger(code) && code >= 400 && code <= 599 ? code : 500;
}

/**
 * @param what the request, as in `get secrets default/web`
 * @param status a `v1.Status`, or whatever came in its place
 * @param path of the request
 */
export function errorOfStatus(
  what: string,
  status: unknown,
  httpStatus: number,
  { path = '', retryAfterSeconds }: { readonly path?: string; readonly retryAfterSeconds?: number | undefined } = {},
): ApiError {
  const body = isRecord(status) && status['kind'] === 'Status' ? status : undefined;
  const code = httpStatus !== 0 ? httpStatus : statusCodeOf(body?.['code']);
  const reason = textOf(body?.['reason']) ?? REASON_BY_STATUS[code] ?? 'Unknown';
  const details = detailsOf(body?.['details']);
  const message = textOf(body?.['message']) ?? (code === NOT_FOUND && isCustom(path) ? NOT_SERVED : noStatus(code));
  return new ApiError(`${what}: ${message}`, {
    status: code,
    reason,
    details,
    retryAfterSeconds: retryAfterSeconds ?? details?.retryAfterSeconds,
  });
}

const NOT_FOUND = 404;

/** For a path of an API group that it does not have, the API server answers in plain text. */
const NOT_SERVED = 'the API server does not serve this type of object: its CustomResourceDefinition is not installed';

/** Of an API group that is nobody's but its CustomResourceDefinitions'. */
function isCustom(path: string): boolean {
  const [, root, group = ''] = path.split('/');
  return root === 'apis' && group.includes('.') && !group.endsWith('.k8s.io');
}

function noStatus(code: number): string {
  return `expected a Kubernetes Status with HTTP status ${code}, found none; is there a proxy in between?`;
}

/** No answer: the connection failed, was refused or was cut. */
export function networkError(what: string, cause: unknown): ApiError {
  const code = isRecord(cause) && typeof cause['code'] === 'string' ? cause['code'] : undefined;
  const said = cause instanceof Error ? boundedMessage(explainOpenSsl(explainConnectionError(cause))) : '';
  const shown = code === undefined || said.endsWith(`(${code})`) ? '' : ` (${code})`;
  return new ApiError(`${what}: ${said === '' ? 'no answer' : said}${shown}`, {
    status: 0,
    reason: 'Network',
    cause,
  });
}

export function timeoutError(what: string, ms: number): ApiError {
  return new ApiError(`${what}: no answer within ${ms} ms`, { status: 0, reason: 'Timeout' });
}

/** The answer is not an answer to the request. The parser's message quotes the text, which may be a Secret's: it stays here. */
export function invalidResponseError(what: string, found: string, status = 0): ApiError {
  return new ApiError(`${what}: response is not a JSON object: found ${found}`, { status, reason: 'InvalidResponse' });
}

/** The resourceVersion or the continue token is older than what the server remembers: list again. */
export function isExpired(error: unknown): boolean {
  return error instanceof ApiError && (error.status === 410 || error.reason === 'Expired' || error.reason === 'Gone');
}
