/**
 * The signer's audit log: a line of JSON for every signature and every refusal, each with the hash of the line before it. A
 * line that was changed, removed or moved breaks the chain; that lines were cut off at the end is seen by comparing the last
 * sequence number and hash with what was noted elsewhere (a metric, a log collector).
 *
 * Nothing is answered before its line is written: what is not in the log was not signed. A line that a crash cut short is kept;
 * the next start adds a `recovered` line, which names it by its hash.
 */
import { hash as digest } from 'node:crypto';
import { constants, type FileHandle, open } from 'node:fs/promises';

export interface AuditLogEntry {
  /** RFC 3339, UTC. */
  readonly time: string;
  readonly event: 'signed' | 'refused' | 'recovered';
  /** The client's name in the configuration. */
  readonly client?: string;
  readonly cluster?: string;
  readonly namespace?: string;
  readonly resource?: string;
  readonly podUid?: string;
  readonly certificate?: string;
  readonly certificateSha256?: string;
  readonly usage?: string;
  readonly publicKeySha256?: string;
  /** RFC 3339, UTC. */
  readonly expiresAt?: string;
  readonly credentialSha256?: string;
  readonly reason?: string;
  /** For `recovered`: SHA-256 of the bytes that a crash left without an end of line. */
  readonly tornSha256?: string;
}

/** Where the chain is: the next line has this sequence number and this hash before it. */
export interface ChainHead {
  readonly sequence: number;
  readonly hash: string;
}

export const CHAIN_START: ChainHead = Object.freeze({ sequence: 1, hash: '0'.repeat(64) });

/** The line of an entry, with its end, and the head after it. */
export function chainLine(head: ChainHead, entry: AuditLogEntry): { readonly line: string; readonly head: ChainHead } {
  const body = asciiJson({ sequence: head.sequence, previous: head.hash, ...entry });
  const hash = sha256(body);
  // The hash goes last, over the exact bytes before it: no canonical form of JSON is needed to check it.
  return { line: `${body.slice(0, -1)},"hash":"${hash}"}\n`, head: { sequence: head.sequence + 1, hash } };
}

/** A line that is cut anywhere is still text, and nothing in it is taken for the end of a line. */
function asciiJson(value: object): string {
  return JSON.stringify(value).replace(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

export type LogCheck =
  | { readonly ok: true; readonly head: ChainHead; readonly lines: number }
  | { readonly ok: false; readonly line: number; readonly message: string };

const HASH_FIELD = /^(.*),"hash":"([0-9a-f]{64})"\}$/s;
/** Longer than any entry can be. */
export const MAX_LINE_BYTES = 16 * 1024;

/**
 * Checks a log line by line; `push` for each, without its end, then `end`. Lines are bytes, each as one character ("latin1"): a torn line
 * may be any bytes, and UTF-8 would read different ones as the same text.
 */
export class LogVerifier {
  #head = CHAIN_START;
  #lines = 0;
  #torn: { readonly sha256: string; readonly line: number } | undefined;
  #failure: Extract<LogCheck, { ok: false }> | undefined;

  /** False once the chain is broken: what follows proves nothing. */
  push(line: string): boolean {
    this.#lines += 1;
    if (this.#failure === undefined) this.#check(line);
    return this.#failure === undefined;
  }

  end(): LogCheck {
    if (this.#failure !== undefined) return this.#failure;
    if (this.#torn !== undefined) return broken(this.#torn.line, 'the line is cut short and no recovery follows it');
    return { ok: true, head: this.#head, lines: this.#lines };
  }

  #check(line: string): void {
    const match = HASH_FIELD.exec(line);
    if (match === null) {
      if (this.#torn !== undefined) this.#failure = broken(this.#torn.line, 'the line is not an entry of this log');
      else this.#torn = { sha256: sha256(Buffer.from(line, 'latin1')), line: this.#lines };
      return;
    }
    const [, start = '', hash = ''] = match;
    const body = `${start}}`;
    this.#failure = this.#compare(body, hash);
    this.#head = { sequence: this.#head.sequence + 1, hash };
  }

  #compare(body: string, hash: string): Extract<LogCheck, { ok: false }> | undefined {
    if (sha256(body) !== hash) return broken(this.#lines, 'the line was changed: its hash does not match');
    const entry = parse(body);
    if (entry?.sequence !== this.#head.sequence || entry.previous !== this.#head.hash) {
      return broken(this.#lines, `expected entry ${this.#head.sequence}: a line before it was removed, added or moved`);
    }
    const torn = this.#torn;
    this.#torn = undefined;
    if (torn === undefined) return undefined;
    if (entry.event === 'recovered' && entry.tornSha256 === torn.sha256) return undefined;
    return broken(torn.line, 'the line is cut short or was changed, and no recovery names it');
  }
}

function broken(line: number, message: string): Extract<LogCheck, { ok: false }> {
  return { ok: false, line, message };
}

type Parsed = AuditLogEntry & { readonly sequence?: unknown; readonly previous?: unknown };

function parse(body: string): Parsed | undefined {
  try {
    return JSON.parse(body) as Parsed;
  } catch {
    return undefined;
  }
}

interface Waiting {
  readonly entries: readonly AuditLogEntry[];
  readonly written: PromiseWithResolvers<void>;
}

/** A write returns when its data is on the disk (O_DSYNC): one system call in place of a write and a flush. */
const APPEND_DURABLY = constants.O_RDWR | constants.O_CREAT | constants.O_APPEND | constants.O_DSYNC;

/**
 * Appends to a file. Entries that come while a write is under way go together into the next one.
 *
 * One file has one writer. With a second writer (two pods on one volume), or once the file is deleted or truncated, the log no longer holds
 * what was signed. So the file's size is checked before and after each write; if it is not what this process left, nothing is answered.
 * A restart continues from the end of the file.
 */
export class AuditLog {
  readonly #path: string;
  readonly #file: FileHandle;
  #head: ChainHead;
  /** Of the file, as this process left it. */
  #size: number;
  /** Bytes of a write that failed, some of which may be in the file. */
  #tornBytes = 0;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;

  private constructor(path: string, file: FileHandle, head: ChainHead, size: number) {
    this.#path = path;
    this.#file = file;
    this.#head = head;
    this.#size = size;
  }

  /** Goes on where the file ends. Throws AuditLogError where its last entry does not hold. */
  static async open(path: string, now: string): Promise<AuditLog> {
    const file = await open(path, APPEND_DURABLY, 0o600);
    try {
      const { head, size, torn } = await readEnd(file, path);
      if (torn === undefined) return new AuditLog(path, file, head, size);
      // Only the end of the line is missing: the entry counts.
      const whole = readEntry(torn.toString('latin1'));
      const log = new AuditLog(path, file, whole?.previous === head.hash ? whole.head : head, size);
      if (log.head === head) await log.#recover(torn, now);
      else await log.#write([], '\n');
      return log;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get head(): ChainHead {
    return this.#head;
  }

  /** Resolves once the entries are on the disk, in order; rejects where they are not, and nothing may be answered then. */
  append(entries: readonly AuditLogEntry[]): Promise<void> {
    const written = Promise.withResolvers<void>();
    this.#waiting.push({ entries, written });
    this.#writing ??= this.#writeAll();
    return written.promise;
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#file.close();
  }

  /** Never rejects. */
  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#write(batch.flatMap(({ entries }) => entries));
        for (const { written } of batch) written.resolve();
      } catch (error) {
        for (const { written } of batch) written.reject(error);
      }
    }
    // Before anybody else runs: who appends from now on begins again.
    this.#writing = undefined;
  }

  async #write(entries: readonly AuditLogEntry[], before = ''): Promise<void> {
    if (this.#tornBytes > 0) await this.#cut();
    await this.#assertSize(this.#size);
    let head = this.#head;
    let text = before;
    for (const entry of entries) {
      const chained = chainLine(head, entry);
      text += chained.line;
      head = chained.head;
    }
    const bytes = Buffer.from(text);
    try {
      for (let done = 0; done < bytes.length; ) done += (await this.#file.write(bytes, done)).bytesWritten;
    } catch (error) {
      this.#tornBytes = bytes.length;
      await this.#cut();
      throw error;
    }
    const size = this.#size + bytes.length;
    await this.#assertSize(size);
    this.#size = size;
    this.#head = head;
  }

  /** A full disk may have taken half of a write: the chain goes on only from what is whole. */
  async #cut(): Promise<void> {
    await this.#assertSize(this.#size, this.#size + this.#tornBytes);
    await this.#file.truncate(this.#size);
    this.#tornBytes = 0;
  }

  /** Throws AuditLogError. */
  async #assertSize(least: number, most = least): Promise<void> {
    const file = await this.#file.stat();
    // A pipe or a terminal has no size, and nobody else's lines are in it.
    if (!file.isFile()) return;
    if (file.nlink === 0) throw new AuditLogError(`${this.#path} was deleted: restart the signer to begin a new file`);
    if (file.size >= least && file.size <= most) return;
    throw new AuditLogError(
      `${this.#path} has ${file.size} bytes, expected ${least}: something else changes it. Give each signer a file that nothing else ` +
        'writes or truncates, and restart it',
    );
  }

  async #recover(torn: Uint8Array, time: string): Promise<void> {
    await this.#write([{ time, event: 'recovered', tornSha256: sha256(torn) }], '\n');
  }
}

/** The file cannot be continued. */
class AuditLogError extends Error {
  override readonly name = 'AuditLogError';
  readonly code = 'AuditLog';
}

/** Reads the last two lines only: a log of a year is not read at every start. */
async function readEnd(
  file: FileHandle,
  path: string,
): Promise<{ readonly head: ChainHead; readonly torn: Buffer | undefined; readonly size: number }> {
  const { size } = await file.stat();
  const length = Math.min(size, 2 * MAX_LINE_BYTES);
  const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
  const end = buffer.lastIndexOf(0x0a);
  const torn = end + 1 < buffer.length ? buffer.subarray(end + 1) : undefined;
  if ((torn?.length ?? 0) > MAX_LINE_BYTES)
    throw new AuditLogError(`${path} does not end in an audit log: choose another file`);
  if (end === -1) return { head: CHAIN_START, torn, size };
  const start = end === 0 ? -1 : buffer.lastIndexOf(0x0a, end - 1);
  const last = readEntry(buffer.subarray(start + 1, end).toString('latin1'));
  if (last !== undefined) return { head: last.head, torn, size };
  throw new AuditLogError(
    `the last entry of ${path} is damaged: check the file with dcred signer verify-log, and start a new file`,
  );
}

/** An entry whose own hash holds, and the head after it; undefined for anything else. */
function readEntry(line: string): { readonly previous: unknown; readonly head: ChainHead } | undefined {
  const [, start = '', hash = ''] = HASH_FIELD.exec(line) ?? [];
  if (sha256(`${start}}`) !== hash) return undefined;
  const { previous, sequence } = parse(`${start}}`) ?? {};
  return typeof sequence === 'number' ? { previous, head: { sequence: sequence + 1, hash } } : undefined;
}

function sha256(data: string | Uint8Array): string {
  return digest('sha256', data, 'hex');
}
