/**
 * How a server reloads a new credential: the format of `--reload` and of the annotation `dcred.dev/reload`.
 *
 *     signal:HUP:nginx                           a process by its name, or by signal:HUP:pid:/run/nginx.pid
 *     exec:/usr/bin/reload --now                 a command, without a shell; exec:["/bin/a","b c"] where arguments have spaces
 *     http:POST:http://127.0.0.1:8080/reload     a request that must be answered with 2xx
 *
 * Pure: the admission webhook reads it too.
 */

/** The signals that servers use for a reload and that do not terminate a process which handles them. */
export const RELOAD_SIGNALS = ['HUP', 'USR1', 'USR2', 'WINCH'] as const;
export type ReloadSignal = (typeof RELOAD_SIGNALS)[number];

export const RELOAD_METHODS = ['GET', 'POST', 'PUT'] as const;
type ReloadMethod = (typeof RELOAD_METHODS)[number];

export type ReloadSpec =
  | { readonly kind: 'signal'; readonly signal: ReloadSignal; readonly process: ProcessReference }
  | { readonly kind: 'exec'; readonly command: readonly [string, ...string[]] }
  | { readonly kind: 'http'; readonly method: ReloadMethod; readonly url: string };

export type ProcessReference =
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'pidfile'; readonly path: string };

export class ReloadSpecError extends Error {
  readonly code = 'BadReload';
  override readonly name = 'ReloadSpecError';
}

const MAX_LENGTH = 1024;
/** Lines of an annotation; each is an argument of the agent, and a label of its metrics. */
const MAX_RELOADS = 16;
const PROCESS_NAME = /^[A-Za-z0-9_][A-Za-z0-9._+-]{0,63}$/;

/**
 * What it accepts, it accepts again as `formatReload` writes it.
 * @throws {ReloadSpecError} whose message says what to write instead
 */
export function parseReload(text: string): ReloadSpec {
  if (text.length > MAX_LENGTH)
    throw new ReloadSpecError(`expected at most ${MAX_LENGTH} characters, got ${text.length}`);
  const spec = parseKind(text);
  // The webhook passes it to the agent in this form, in which a URL or a list of words may be longer.
  const { length } = formatReload(spec);
  if (length <= MAX_LENGTH) return spec;
  throw new ReloadSpecError(
    `expected at most ${MAX_LENGTH} characters with the URL percent-encoded or the words in JSON, got ${length}: shorten it`,
  );
}

function parseKind(text: string): ReloadSpec {
  const [kind, rest] = cut(text);
  switch (kind) {
    case 'signal':
      return parseSignal(rest);
    case 'exec':
      return { kind: 'exec', command: parseCommand(rest) };
    case 'http':
      return parseHttp(rest);
    default:
      throw new ReloadSpecError(
        `expected signal:HUP:nginx, exec:/bin/command or http:POST:http://127.0.0.1:8080/reload; got ${quote(text)}`,
      );
  }
}

/**
 * Reads an annotation: one reload a line, empty lines skipped.
 * @throws {ReloadSpecError}
 */
export function parseReloads(text: string): readonly ReloadSpec[] {
  if (text.length > MAX_RELOADS * (MAX_LENGTH + 1))
    throw new ReloadSpecError(
      `expected at most ${MAX_RELOADS} lines of ${MAX_LENGTH} characters, got ${text.length} characters`,
    );
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  if (lines.length > MAX_RELOADS)
    throw new ReloadSpecError(`expected at most ${MAX_RELOADS} lines, got ${lines.length}`);
  return lines.map(parseReload);
}

/** For logs and metric labels: as `formatReload` writes it, without the query of a URL, which may hold a token. */
export function describeReload(spec: ReloadSpec): string {
  return spec.kind === 'http' ? `http:${spec.method}:${describeUrl(spec.url)}` : formatReload(spec);
}

/** A URL without query and fragment. */
export function describeUrl(url: string): string {
  return url.split(/[?#]/, 1)[0] ?? '';
}

/** The inverse of `parseReload`. */
export function formatReload(spec: ReloadSpec): string {
  switch (spec.kind) {
    case 'signal': {
      const { process, signal } = spec;
      return `signal:${signal}:${process.kind === 'name' ? process.name : `pid:${process.path}`}`;
    }
    case 'exec':
      return `exec:${JSON.stringify(spec.command)}`;
    case 'http':
      return `http:${spec.method}:${spec.url}`;
  }
}

function parseSignal(text: string): ReloadSpec {
  const [name, target] = cut(text);
  const signal = RELOAD_SIGNALS.find((one) => one === name.replace(/^SIG/, ''));
  if (signal === undefined) {
    throw new ReloadSpecError(
      `expected one of the signals ${RELOAD_SIGNALS.join(', ')} as in signal:HUP:nginx; got ${quote(name)}`,
    );
  }
  if (target.startsWith('pid:')) {
    return { kind: 'signal', signal, process: { kind: 'pidfile', path: absolute(target.slice('pid:'.length)) } };
  }
  if (!PROCESS_NAME.test(target)) {
    throw new ReloadSpecError(
      `expected a process name as in signal:HUP:nginx, or signal:HUP:pid:/run/nginx.pid; got ${quote(target)}`,
    );
  }
  return { kind: 'signal', signal, process: { kind: 'name', name: target } };
}

function parseCommand(text: string): readonly [string, ...string[]] {
  const words = text.startsWith('[') ? parseWords(text) : text.split(' ').filter((word) => word !== '');
  const [file = '', ...rest] = words;
  if (words.some((word) => word.includes('\0'))) throw new ReloadSpecError('expected a command without NUL characters');
  return [absolute(file), ...rest];
}

function parseWords(text: string): readonly string[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (Array.isArray(value) && value.every((word) => typeof word === 'string')) return value;
  throw new ReloadSpecError(
    `expected a list of words in JSON as in exec:["/bin/command","an argument"]; got ${quote(text)}`,
  );
}

function parseHttp(text: string): ReloadSpec {
  const [name, target] = cut(text);
  const method = RELOAD_METHODS.find((one) => one === name);
  if (method === undefined) {
    throw new ReloadSpecError(
      `expected one of ${RELOAD_METHODS.join(', ')} as in http:POST:http://127.0.0.1:8080/reload; got ${quote(name)}`,
    );
  }
  return { kind: 'http', method, url: parseUrl(target) };
}

/** An http or https URL without a password, which would be logged. Throws ReloadSpecError. */
export function parseUrl(text: string): string {
  const url = URL.parse(text);
  const good = url !== null && (url.protocol === 'http:' || url.protocol === 'https:');
  if (good && url.username === '' && url.password === '') return url.href;
  throw new ReloadSpecError(
    good
      ? 'expected a URL without a user name and password'
      : `expected a URL such as http://127.0.0.1:8080/reload; got ${quote(text)}`,
  );
}

function absolute(path: string): string {
  if (path.startsWith('/') && path.length > 1 && !path.includes('\0')) return path;
  throw new ReloadSpecError(`expected an absolute path such as /run/nginx.pid; got ${quote(path)}`);
}

/** The text before and after the first colon. */
function cut(text: string): readonly [string, string] {
  const at = text.indexOf(':');
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + 1)];
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
}
