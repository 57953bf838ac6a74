import { open } from 'node:fs/promises';
import { CommandError } from './command.ts';

/** Secrets are at most 1 MiB, and so is everything that dcred reads. */
const MAX_INPUT_BYTES = 1_048_576;

export interface ReadOptions {
  /** What is expected in the file, for errors: `the certificate`. */
  readonly what: string;
  readonly signal: AbortSignal;
  /** Where `-` reads from. Default: the process's standard input. */
  readonly stdin?: AsyncIterable<Uint8Array>;
}

/** Reads a file, or standard input for `-`. Throws CommandError for whatever is missing, a directory, empty, or too large. */
export async function readInput(path: string, options: ReadOptions): Promise<Uint8Array> {
  const name = path === '-' ? 'standard input' : path;
  const data = path === '-' ? await readStream(options.stdin ?? process.stdin, options) : await readFile(path, options);
  if (data.length > MAX_INPUT_BYTES) {
    throw new CommandError(`${name} is larger than 1 MiB: it cannot be ${options.what}`);
  }
  if (data.length === 0) throw new CommandError(`${name} is empty: expected ${options.what}`);
  return data;
}

/** As `readInput`, as text. */
export async function readInputText(path: string, options: ReadOptions): Promise<string> {
  return Buffer.from(await readInput(path, options)).toString('utf8');
}

async function readFile(path: string, { signal, what }: ReadOptions): Promise<Uint8Array> {
  signal.throwIfAborted();
  try {
    await using file = await open(path, 'r');
    if ((await file.stat()).isDirectory())
      throw new CommandError(`${path} is a directory: expected a file with ${what}`);
    // A stream also serves pipes (`<(...)`) and devices that never end, whose size says nothing.
    return await readStream(file.createReadStream({ autoClose: false, end: MAX_INPUT_BYTES }), { signal, what });
  } catch (error) {
    if (error instanceof CommandError) throw error;
    throw new CommandError(`cannot read ${what}: ${explain(path, error)}`, { cause: error });
  }
}

async function readStream(stream: AsyncIterable<Uint8Array>, { signal }: ReadOptions): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of stream) {
    signal.throwIfAborted();
    chunks.push(chunk);
    length += chunk.length;
    if (length > MAX_INPUT_BYTES) break;
  }
  return Buffer.concat(chunks);
}

function explain(path: string, error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT') return `${path} does not exist`;
  if (code === 'EACCES' || code === 'EPERM') return `${path} may not be read by this user`;
  return error instanceof Error ? error.message : String(error);
}
