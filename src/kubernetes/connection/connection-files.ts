import { FileRefusedError, readBounded } from '../../files/read-bounded.ts';
import { explainFileError } from '../../text/system-error.ts';
import { ConnectionError } from './connection-error.ts';

/** More than a system's whole bundle of CAs. */
const MAX_BYTES = 1024 * 1024;

/** A certificate, a key, CAs or a token. Throws ConnectionError, which begins with `failure` and names the file. */
export async function readConnectionFile(path: string, failure: string): Promise<string> {
  try {
    return (await readBounded(path, MAX_BYTES)).toString('utf8');
  } catch (cause) {
    const why = cause instanceof FileRefusedError ? cause.message : explainFileError(path, cause);
    throw new ConnectionError(`${failure}: ${why}`, { cause });
  }
}
