/** The files that a key needs beside it: a PIN, a token, a CA. */
import { FileRefusedError, readBounded } from '../files/read-bounded.ts';
import { printable } from '../text/printable.ts';
import { KeyError } from './key-error.ts';

/** More than a system's whole bundle of CAs. */
const MAX_BYTES = 1024 * 1024;
const REFUSED = { NotAFile: 'it is not a regular file', FileTooLarge: 'it has more than 1 MiB' } as const;

/** `what` is expected in it. Throws KeyError, which names the file and not what is in it. */
export async function readTextFile(path: string, what: string): Promise<string> {
  try {
    return (await readBounded(path, MAX_BYTES)).toString('utf8');
  } catch (error) {
    const why = error instanceof FileRefusedError ? REFUSED[error.code] : (error as NodeJS.ErrnoException).code;
    throw new KeyError('KeyNotConfigured', `cannot read ${what} from ${printable(path)}: ${why ?? 'failed'}`);
  }
}
