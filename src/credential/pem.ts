/**
 * PEM (RFC 7468), read line by line and no more leniently than OpenSSL and BoringSSL do: whatever this reader accepts, they
 * read as the same blocks. They skip what they do not recognise, and so may take the second certificate for the first; here
 * everything that they could read in another way is an error that says how to fix the file.
 */

import { trimEndWhile } from '../text/trim.ts';

/** One PEM block: `-----BEGIN label-----`, base64, `-----END label-----`. */
export interface PemBlock {
  readonly label: string;
  readonly der: Uint8Array;
  /** The block as it stands in the text, without what is around it. */
  readonly text: string;
}

/** A text that OpenSSL would refuse or read otherwise. Never quotes the text: it may hold a key. */
export class PemError extends Error {
  override readonly name = 'PemError';
  readonly code = 'PemMalformed';
}

/** PEM_read_bio reads lines in pieces of this many characters: OpenSSL's, then BoringSSL's. */
const LINE_BUFFER_LENGTHS = [254, 253];

/** RFC 7468 section 3, without the dash that no label in use has. Longer ones do not exist. */
const LABEL = /^[!-,.-~](?:[ -,.-~]{0,62}[!-,.-~])?$/;
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

const BEGIN = '-----BEGIN ';
const END = '-----END ';
const TAIL = '-----';

/**
 * All blocks of a text, in order. Lines around them are skipped (`openssl x509 -text` writes some); lines may end in `\r\n` or
 * in spaces. O(text). Throws PemError.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { readPem, writePem } from 'dcred/credential';
 *
 * const [block] = readPem(writePem('CERTIFICATE', Uint8Array.of(1, 2, 3)));
 * assert.equal(block?.label, 'CERTIFICATE');
 * assert.deepEqual(block?.der, Uint8Array.of(1, 2, 3));
 */
export function readPem(text: string): readonly PemBlock[] {
  if (text.startsWith('\ufeff')) {
    throw new PemError('the text begins with a byte order mark, which hides the first block: save it without one');
  }
  if (text.includes('\0')) {
    throw new PemError('the text holds NUL characters, as UTF-16 and binary files do: save it as UTF-8 text');
  }
  const blocks: PemBlock[] = [];
  let open: OpenBlock | undefined;
  for (const line of linesOf(text)) {
    if (open === undefined) {
      open = beginBlock(line, blocks.length + 1);
      continue;
    }
    if (line.text !== `${END}${open.label}${TAIL}`) {
      open.base64.push(base64Line(line, open));
      continue;
    }
    blocks.push(closeBlock(open, text.slice(open.start, line.start + line.text.length)));
    open = undefined;
  }
  if (open === undefined) return blocks;
  throw new PemError(`${nameOf(open)} has no line "${END}${open.label}${TAIL}"`);
}

/**
 * One block, lines of 64 characters, ending in a newline.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { writePem } from 'dcred/credential';
 *
 * assert.equal(writePem('DATA', Uint8Array.of(1, 2, 3)), '-----BEGIN DATA-----\nAQID\n-----END DATA-----\n');
 */
export function writePem(label: string, der: Uint8Array): string {
  const base64 = Buffer.from(der).toString('base64');
  const lines = base64.match(/.{1,64}/g) ?? [];
  return `${BEGIN}${label}${TAIL}\n${lines.join('\n')}\n${END}${label}${TAIL}\n`;
}

interface Line {
  /** From 1. */
  readonly number: number;
  readonly start: number;
  /** Without white space at its end. */
  readonly text: string;
  /** With it, without the newline. */
  readonly length: number;
}

interface OpenBlock {
  readonly label: string;
  readonly position: number;
  readonly start: number;
  readonly base64: string[];
}

const isBlank = (character: string) => ' \t\r'.includes(character);

function* linesOf(text: string): Generator<Line> {
  let start = 0;
  for (let number = 1; start < text.length; number += 1) {
    const newline = text.indexOf('\n', start);
    const end = newline === -1 ? text.length : newline;
    yield { number, start, text: trimEndWhile(text.slice(start, end), isBlank), length: end - start };
    start = end + 1;
  }
}

/** A line outside of blocks: the beginning of one, or text that everybody skips. */
function beginBlock(line: Line, position: number): OpenBlock | undefined {
  const { number, start, text } = line;
  const label = text.slice(BEGIN.length, -TAIL.length);
  if (text === `${BEGIN}${label}${TAIL}` && LABEL.test(label)) {
    if (endsInBlankPiece(line)) throw new PemError(`line ${number} ends in too many spaces: remove them`);
    return { label, position, start, base64: [] };
  }
  if (text.includes('-----BEGIN') || text.includes('-----END')) throw new PemError(strayMarker(text, number));
  const upper = text.toUpperCase();
  if (!upper.includes('BEGIN') || !upper.includes('CERTIFICATE')) return undefined;
  throw new PemError(`line ${number} resembles "${BEGIN}CERTIFICATE${TAIL}" and is not exactly that: correct it`);
}

function strayMarker(text: string, number: number): string {
  if (text.includes('\\n')) {
    return `line ${number} holds its line breaks as "\\n", two characters: replace each by a newline`;
  }
  if (text.includes('\r')) {
    return 'the lines end in a carriage return alone: convert them to newlines (tr "\\r" "\\n")';
  }
  if (text.startsWith('-----END')) return `line ${number} ends a PEM block that has not begun: remove it`;
  if (text.startsWith(BEGIN)) {
    return `line ${number} must be "${BEGIN}", a label and "${TAIL}", and nothing else: put a newline after it`;
  }
  return `"${BEGIN}" is not at the beginning of line ${number}: remove what stands before it (quotes, spaces, text)`;
}

function base64Line(line: Line, open: OpenBlock): string {
  const { number, text } = line;
  if (text === '') throw new PemError(`line ${number}, inside ${nameOf(open)}, is blank: remove it`);
  if (text.startsWith(END)) {
    throw new PemError(
      text.includes('-----BEGIN')
        ? `line ${number} ends a PEM block and begins another: put a newline between the certificates`
        : `line ${number} must be "${END}${open.label}${TAIL}" and nothing else, to end ${nameOf(open)}`,
    );
  }
  if (text.includes('-----BEGIN')) {
    throw new PemError(`${nameOf(open)} has no line "${END}${open.label}${TAIL}" before line ${number}`);
  }
  if (!BASE64.test(text)) throw new PemError(`line ${number}, inside ${nameOf(open)}, does not hold base64`);
  if (endsInBlankPiece(line)) throw new PemError(`line ${number} is too long: wrap the base64 at 64 characters`);
  return text;
}

/** Whether a long line's last piece is blank to a reader with a fixed buffer: it takes it for a blank line. */
function endsInBlankPiece({ length, text }: Line): boolean {
  return LINE_BUFFER_LENGTHS.some((size) => length >= size && Math.floor(length / size) * size >= text.length);
}

function closeBlock(open: OpenBlock, text: string): PemBlock {
  const base64 = open.base64.join('');
  const der = Buffer.from(base64, 'base64');
  // Also refuses padding in the middle, missing padding, and bits beside the last byte, about which readers differ.
  if (base64 === '' || der.toString('base64') !== base64) {
    throw new PemError(`${nameOf(open)} does not hold base64: it is cut short or damaged`);
  }
  return { label: open.label, der: Uint8Array.from(der), text };
}

function nameOf({ label, position }: OpenBlock): string {
  return `the PEM block ${label} (block ${position})`;
}
