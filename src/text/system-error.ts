/** Errors of the operating system, by their code, in words. Pure. */
import { dirname } from 'node:path';

/** What follows a file's path. errno(3). */
const OF_FILES: ReadonlyMap<string, string> = new Map(
  Object.entries({
    ENOENT: 'does not exist',
    EACCES: 'cannot be opened: permission denied',
    EPERM: 'cannot be opened: permission denied',
    EISDIR: 'is a directory',
    ENOTDIR: 'is not a directory, or lies below a file',
    EEXIST: 'exists',
    ENOTEMPTY: 'is a directory that is not empty',
    ENOSPC: 'cannot be written: no space left on the device',
    EDQUOT: 'cannot be written: the disk quota is exceeded',
    EROFS: 'cannot be written: the file system is read-only',
    EFBIG: 'cannot be written: it would be too large',
    EIO: 'cannot be read or written: the device fails',
    ELOOP: 'goes through too many symbolic links',
    ENAMETOOLONG: 'is too long for a path',
    EMFILE: 'cannot be opened: too many files are open',
  }),
);

/** What follows a host, or a host and its port. */
const OF_CONNECTIONS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    ECONNREFUSED: 'refused the connection: nothing listens there',
    ECONNRESET: 'closed the connection',
    EPIPE: 'closed the connection',
    ENOTFOUND: 'is not a known host name',
    EAI_AGAIN: 'cannot be resolved: the name server does not answer',
    ETIMEDOUT: 'did not answer in time',
    EHOSTUNREACH: 'cannot be reached: no route to the host',
    ENETUNREACH: 'cannot be reached: no route to its network',
    EADDRINUSE: 'is in use: another process listens there',
    EADDRNOTAVAIL: 'is not an address of this machine',
    UND_ERR_CONNECT_TIMEOUT: 'did not answer in time',
  }),
);

/** `leaf.crt does not exist`; for an error that is not of this kind, its own message. */
export function explainFileError(path: string, error: unknown): string {
  const phrase = OF_FILES.get(codeOf(error) ?? '');
  return phrase === undefined ? `${path}: ${messageOf(error)}` : `${path} ${phrase}`;
}

/** As `explainFileError`, of a new file: what does not exist is the directory that it was to be in. */
export function explainWriteError(path: string, error: unknown): string {
  return codeOf(error) === 'ENOENT' ? `the directory ${dirname(path)} does not exist` : explainFileError(path, error);
}

/** `127.0.0.1:6443 refused the connection: nothing listens there (ECONNREFUSED)`; else the error's own message. */
export function explainConnectionError(error: unknown): string {
  // Node tries every address of a name, and then throws one error for all, without a message.
  if (error instanceof AggregateError && error.errors.length > 0) return explainConnectionError(error.errors[0]);
  const code = codeOf(error) ?? '';
  const phrase = OF_CONNECTIONS.get(code);
  const place = placeOf(error) ?? (code === 'ECONNRESET' || code === 'EPIPE' ? 'the other side' : undefined);
  return phrase === undefined || place === undefined ? messageOf(error) : `${place} ${phrase} (${code})`;
}

/** What Node adds for its own users: https://nodejs.org/api/cli.html#--use-system-ca */
const ADVICE_OF_NODE = '; if the root CA is installed locally, try running Node.js with --use-system-ca';

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(ADVICE_OF_NODE, '');
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

/** Where it was to go. node:net gives an address and a port, node:dns a host name. */
function placeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  // undici names the addresses that it tried in its message alone.
  const attempted = /attempted address(?:es)?: ([^,)\s]{1,300})/.exec(error.message)?.[1];
  if (codeOf(error) === 'UND_ERR_CONNECT_TIMEOUT') return attempted;
  if ('hostname' in error && typeof error.hostname === 'string') return error.hostname;
  if (!('address' in error) || typeof error.address !== 'string') return undefined;
  if (!('port' in error) || typeof error.port !== 'number') return error.address;
  return error.address.includes(':') ? `[${error.address}]:${error.port}` : `${error.address}:${error.port}`;
}
