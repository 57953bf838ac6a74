/** Reads the files that commands are given: bounded, and interruptible whatever kind of file it is. */
import { constants, open as openDescriptor } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { Socket } from 'node:net';
import { addAbortSignal, Readable } from 'node:stream';
import { promisify } from 'node:util';
import { explainFileError } from '../../text/system-error.ts';
import { CommandError } from '../command.ts';

/** Secrets are at most 1 MiB, and so is everything that dcred reads. */
const MAX_INPUT_BYTES = 1_048_576;

export interface InputOptions {
  /** What is expected in the file, for errors: `the certificate`. */
  readonly what: string;
  readonly signal: AbortSignal;
  /** Where `-` reads from. Default: the process's standard input. */
  readonly stdin?: AsyncIterable<Uint8Array>;
}

/** Reads a file, or standard input for `-`. Throws CommandError for one that is missing, a directory, empty, or too large. */
export async function readInput(path: string, options: InputOptions): Promise<Uint8Array> {
  const name = path === '-' ? 'standard input' : path;
  const data = path === '-' ? await readStream(options.stdin ?? process.stdin, options) : await readFile(path, options);
  if (data.length > MAX_INPUT_BYTES) {
    throw new CommandError(`${name} is larger than 1 MiB: it cannot be ${options.what}`);
  }
  if (data.length === 0) throw new CommandError(`${name} is empty: expected ${options.what}`);
  return data;
}

/** As `readInput`, as text. The bytes are cleared: they may be a key. */
export async function readInputText(path: string, options: InputOptions): Promise<string> {
  const data = await readInput(path, options);
  const text = Buffer.from(data.buffer, data.byteOffset, data.length).toString('utf8');
  data.fill(0);
  return text;
}

async function readFile(path: string, { signal, what }: InputOptions): Promise<Uint8Array> {
  signal.throwIfAborted();
  try {
    if ((await stat(path)).isFIFO()) return await readStream(await openPipe(path), { signal });
    await using file = await open(path, 'r');
    if ((await file.stat()).isDirectory())
      throw new CommandError(`${path} is a directory: expected a file with ${what}`);
    // A stream also serves devices that never end, whose size says nothing.
    return await readStream(file.createReadStream({ autoClose: false, end: MAX_INPUT_BYTES }), { signal });
  } catch (error) {
    if (error instanceof CommandError || signal.aborted) throw error;
    throw new CommandError(`cannot read ${what}: ${explainFileError(path, error)}`, { cause: error });
  }
}

/**
 * Waits for a writer without holding a thread, unlike a file's stream: a blocking open of a FIFO lasts until one comes, whatever
 * the signal. The socket owns the descriptor.
 */
async function openPipe(path: string): Promise<Readable> {
  const fd = await promisify(openDescriptor)(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return new Socket({ fd, readable: true, writable: false });
}

async function readStream(
  stream: AsyncIterable<Uint8Array>,
  { signal }: { readonly signal: AbortSignal },
): Promise<Uint8Array> {
  if (stream instanceof Readable) addAbortSignal(signal, stream);
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
