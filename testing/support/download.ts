import { createHash } from 'node:crypto';
import { open as openFile, rm } from 'node:fs/promises';
import { Transform, type TransformCallback } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Dispatcher, EnvHttpProxyAgent, request } from 'undici';

export interface DownloadOptions {
  /** Lower-case hex. */
  readonly sha256: string;
  readonly maxBytes: number;
  /** Until the server answers, at each redirect. */
  readonly answerTimeoutMs: number;
  /** For the whole download, so that a server that sends a byte a second does not block it indefinitely. */
  readonly totalTimeoutMs: number;
  readonly onBytes?: (bytes: number) => void;
  /** HTTP_PROXY, HTTPS_PROXY and NO_PROXY are honoured, in upper or lower case. */
  readonly env: NodeJS.ProcessEnv;
  /** CA certificates besides Node's own, PEM. */
  readonly ca?: string;
}

/** The file could not be downloaded whole and unchanged. Nothing of it remains. */
class DownloadError extends Error {
  readonly code = 'Download';
  override readonly name = 'DownloadError';
}

const MAX_REDIRECTS = 5;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/**
 * Downloads `url` to `path`, and checks its bytes while they are written. Whatever goes wrong, `path` is removed: so give a path
 * that is not read before this resolves. Never from https to http.
 * @throws DownloadError
 */
export async function download(url: string, path: string, options: DownloadOptions): Promise<void> {
  const agent = proxyAgent(options);
  const total = AbortSignal.timeout(options.totalTimeoutMs);
  try {
    const { body, headers } = await open(new URL(url), agent, total, options);
    const announced = Number(headers['content-length'] ?? 0);
    if (announced > options.maxBytes) throw tooLong(options.maxBytes);
    const check = new Check(options);
    // There from the beginning: a stream may come to make it only after it was to be removed.
    await using file = await openFile(path, 'wx', 0o600);
    await pipeline(body, check, file.createWriteStream(), { signal: total });
    const found = check.digest();
    if (found !== options.sha256) throw new DownloadError(`expected SHA-256 ${options.sha256}, found ${found}`);
  } catch (error) {
    await rm(path, { force: true });
    throw new DownloadError(`${url}: ${describe(error, total, options)}`, { cause: error });
  } finally {
    await agent.destroy();
  }
}

function proxyAgent({ ca, env }: DownloadOptions): EnvHttpProxyAgent {
  const read = (name: string) => env[name.toLowerCase()] ?? env[name];
  const [httpProxy, httpsProxy, noProxy] = [read('HTTP_PROXY'), read('HTTPS_PROXY'), read('NO_PROXY')];
  return new EnvHttpProxyAgent({
    // Empty, not undefined: undici would read the variables of this process instead.
    httpProxy: httpProxy ?? '',
    httpsProxy: httpsProxy ?? '',
    noProxy: noProxy ?? '',
    ...(ca === undefined ? {} : { connect: { ca }, requestTls: { ca } }),
  });
}

async function open(
  first: URL,
  dispatcher: Dispatcher,
  total: AbortSignal,
  options: DownloadOptions,
): Promise<Dispatcher.ResponseData> {
  let url = first;
  for (let hop = 0; hop <= MAX_REDIRECTS; hop += 1) {
    const answer = await answerWithin(url, dispatcher, total, options.answerTimeoutMs);
    if (answer.statusCode === 200) return answer;
    answer.body.on('error', () => {}).destroy();
    if (!REDIRECTS.has(answer.statusCode)) throw new DownloadError(`expected status 200, found ${answer.statusCode}`);
    const next = new URL(String(answer.headers['location']), url);
    if (first.protocol === 'https:' && next.protocol !== 'https:') {
      throw new DownloadError(`expected a redirect to https, found one to ${next.protocol}//${next.host}`);
    }
    url = next;
  }
  throw new DownloadError(`expected at most ${MAX_REDIRECTS} redirects, found more`);
}

/** Rejects when there are no headers in time; the body may then take longer. */
async function answerWithin(
  url: URL,
  dispatcher: Dispatcher,
  total: AbortSignal,
  timeoutMs: number,
): Promise<Dispatcher.ResponseData> {
  const late = new AbortController();
  const timer = setTimeout(
    () => late.abort(new DownloadError(`expected an answer within ${timeoutMs / 1_000} s, found none`)),
    timeoutMs,
  );
  try {
    return await request(url, { dispatcher, signal: AbortSignal.any([late.signal, total]) });
  } finally {
    clearTimeout(timer);
  }
}

/** Counts and hashes what passes. */
class Check extends Transform {
  readonly #hash = createHash('sha256');
  readonly #options: DownloadOptions;
  #bytes = 0;

  constructor(options: DownloadOptions) {
    super();
    this.#options = options;
  }

  digest(): string {
    return this.#hash.digest('hex');
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#options.maxBytes) {
      done(tooLong(this.#options.maxBytes));
      return;
    }
    this.#hash.update(chunk);
    this.#options.onBytes?.(this.#bytes);
    done(undefined, chunk);
  }
}

function tooLong(maxBytes: number): DownloadError {
  return new DownloadError(`expected at most ${maxBytes} bytes, found more`);
}

function describe(error: unknown, total: AbortSignal, options: DownloadOptions): string {
  if (error instanceof DownloadError) return error.message;
  if (total.aborted) return `expected it whole within ${options.totalTimeoutMs / 1_000} s, found it unfinished`;
  const { cause, code, message } = error as Error & { readonly code?: string };
  const inner = cause instanceof Error ? `: ${cause.message}` : '';
  return `${code === undefined ? '' : `${code}: `}${message}${inner}`;
}
