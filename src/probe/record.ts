/**
 * The record layer (RFC 8446 section 5), for one direction. Whatever a server sends, at most one record is buffered, and the
 * number of bytes and records is bounded.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { CipherSuite } from './cipher-suite.ts';
import { type TrafficKeys, trafficKeys } from './key-schedule.ts';
import { uint16 } from './presentation.ts';
import { TlsError } from './tls-error.ts';

export const CONTENT = { changeCipherSpec: 20, alert: 21, handshake: 22, applicationData: 23 } as const;

export interface PlainRecord {
  readonly type: number;
  readonly content: Uint8Array;
}

const HEADER_BYTES = 5;
const TAG_BYTES = 16;
const MAX_PLAINTEXT = 2 ** 14;
/** Section 5.2: a protected record is at most 256 bytes longer than its content. */
const MAX_CIPHERTEXT = MAX_PLAINTEXT + 256;
/** Chains of real servers take 2 to 10 kB; a long one still fits. */
const MAX_TOTAL_BYTES = 512 * 1024;
/** Records of a single byte are legal, and a server may cut a chain of 10 kB into them. */
const MAX_RECORDS = 20_000;

/** Protects and opens records under one traffic secret; counts the records, since the nonce is made from their number. */
export class Protection {
  readonly #suite: CipherSuite;
  readonly #keys: TrafficKeys;
  #sequence = 0;

  constructor(suite: CipherSuite, secret: Uint8Array) {
    this.#suite = suite;
    this.#keys = trafficKeys(suite, secret);
  }

  seal(type: number, content: Uint8Array): Uint8Array {
    const inner = Buffer.concat([content, Uint8Array.of(type)]);
    const header = recordHeader(CONTENT.applicationData, inner.length + TAG_BYTES);
    // The overloads of createCipheriv name each cipher; all three share this shape.
    const cipher = createCipheriv(this.#suite.cipher as 'aes-128-gcm', this.#keys.key, this.#nonce(), {
      authTagLength: TAG_BYTES,
    });
    cipher.setAAD(header);
    return Buffer.concat([header, cipher.update(inner), cipher.final(), cipher.getAuthTag()]);
  }

  /** The record inside, its padding removed. Throws TlsError. */
  open(header: Uint8Array, fragment: Uint8Array): PlainRecord {
    if (fragment.length < TAG_BYTES) throw new TlsError('BadRecord', 'a protected record is shorter than its tag');
    const decipher = createDecipheriv(this.#suite.cipher as 'aes-128-gcm', this.#keys.key, this.#nonce(), {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(header);
    decipher.setAuthTag(fragment.subarray(fragment.length - TAG_BYTES));
    const inner = opened(() =>
      Buffer.concat([decipher.update(fragment.subarray(0, fragment.length - TAG_BYTES)), decipher.final()]),
    );
    let end = inner.length;
    while (end > 0 && inner[end - 1] === 0) end -= 1;
    if (end === 0) throw new TlsError('Malformed', 'a protected record has no content type');
    return { type: inner[end - 1] ?? 0, content: inner.subarray(0, end - 1) };
  }

  /** Section 5.3. A handshake never comes near 2^53 records. */
  #nonce(): Uint8Array {
    const nonce = Buffer.alloc(12);
    nonce.writeBigUInt64BE(BigInt(this.#sequence), 4);
    this.#sequence += 1;
    return nonce.map((byte, position) => byte ^ (this.#keys.iv[position] ?? 0));
  }
}

function opened(open: () => Uint8Array): Uint8Array {
  try {
    return open();
  } catch (cause) {
    throw new TlsError('BadRecord', 'a protected record does not decrypt with the handshake keys', { cause });
  }
}

/** One unprotected record, or several where the content is longer than one may be. */
export function plainRecords(type: number, content: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let start = 0; start === 0 || start < content.length; start += MAX_PLAINTEXT) {
    const fragment = content.subarray(start, start + MAX_PLAINTEXT);
    parts.push(recordHeader(type, fragment.length), fragment);
  }
  return Buffer.concat(parts);
}

function recordHeader(type: number, length: number): Uint8Array {
  return Buffer.concat([Uint8Array.of(type, 3, 3), uint16(length)]);
}

/** Turns what arrives, in pieces of any size, into records. */
export class RecordReader {
  #chunks: Uint8Array[] = [];
  #buffered = 0;
  /** Joining the chunks is not worth it before: a server that sends single bytes would make it quadratic. */
  #needed = 1;
  #totalBytes = 0;
  #records = 0;
  #protection: Protection | undefined;

  /** From the next record on. */
  protect(protection: Protection): void {
    this.#protection = protection;
  }

  push(bytes: Uint8Array): void {
    this.#totalBytes += bytes.length;
    if (this.#totalBytes > MAX_TOTAL_BYTES) {
      throw new TlsError('TooLarge', `the server sent more than ${MAX_TOTAL_BYTES / 1024} KiB before its Finished`);
    }
    this.#chunks.push(bytes);
    this.#buffered += bytes.length;
  }

  /** The next whole record, or undefined while there is none. Throws TlsError. */
  next(): PlainRecord | undefined {
    if (this.#buffered < this.#needed) return undefined;
    const bytes = this.#join();
    const type = bytes[0] ?? 0;
    // Only records of TLS begin so; anything else is refused before the rest of it is waited for.
    if (type < CONTENT.changeCipherSpec || type > CONTENT.applicationData) {
      throw new TlsError('Malformed', 'the server does not speak TLS: its answer does not begin like a TLS record');
    }
    if (bytes.length < HEADER_BYTES) return this.#waitFor(HEADER_BYTES);
    const header = bytes.subarray(0, HEADER_BYTES);
    const length = ((header[3] ?? 0) << 8) | (header[4] ?? 0);
    if (length > MAX_CIPHERTEXT)
      throw new TlsError('TooLarge', `a record of ${length} bytes exceeds ${MAX_CIPHERTEXT}`);
    const end = HEADER_BYTES + length;
    if (bytes.length < end) return this.#waitFor(end);
    this.#records += 1;
    if (this.#records > MAX_RECORDS) throw new TlsError('TooLarge', `the server sent more than ${MAX_RECORDS} records`);
    this.#chunks = [bytes.subarray(end)];
    this.#buffered = bytes.length - end;
    this.#needed = 1;
    return this.#read(type, header, bytes.subarray(HEADER_BYTES, end));
  }

  #waitFor(bytes: number): undefined {
    this.#needed = bytes;
  }

  #join(): Uint8Array {
    const [only] = this.#chunks;
    const joined = this.#chunks.length === 1 && only !== undefined ? only : Buffer.concat(this.#chunks);
    this.#chunks = [joined];
    return joined;
  }

  #read(type: number, header: Uint8Array, fragment: Uint8Array): PlainRecord {
    if (type !== CONTENT.applicationData) {
      // Section 5: once there are keys, change_cipher_spec is all that still comes unprotected.
      if (this.#protection !== undefined && type !== CONTENT.changeCipherSpec) {
        throw new TlsError('Unexpected', 'the server sent an unprotected record after its ServerHello');
      }
      if (fragment.length > MAX_PLAINTEXT) throw new TlsError('TooLarge', 'an unprotected record exceeds 16 KiB');
      return { type, content: fragment };
    }
    if (this.#protection === undefined) {
      throw new TlsError('Unexpected', 'the server sent application data before its ServerHello');
    }
    const record = this.#protection.open(header, fragment);
    // Section 5: it is there for middleboxes, which see no other.
    if (record.type === CONTENT.changeCipherSpec) {
      throw new TlsError('Unexpected', 'the server sent a protected change_cipher_spec');
    }
    if (record.content.length > MAX_PLAINTEXT) throw new TlsError('TooLarge', 'a protected record exceeds 16 KiB');
    return record;
  }
}
