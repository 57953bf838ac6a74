/** The file formats in which servers take a credential: raw, hex, PEM, and Fizz's combined file. Pure. */
import { printableList } from '../text/printable.ts';
import { certificateDer, isCertificateBlock } from './certificate.ts';
import { MalformedCredentialError } from './errors.ts';
import { type PemBlock, PemError, readPem, writePem } from './pem.ts';
import { recognise } from './recognise.ts';
import type { Usage } from './scheme.ts';
import { decodeDelegatedCredential, MAX_CREDENTIAL_BYTES } from './wire.ts';

const PEM_LABEL = 'DELEGATED CREDENTIAL';
const FIZZ_LABEL = {
  Server: { credential: 'SERVER DELEGATED CREDENTIAL', key: 'SERVER DC PRIVATE KEY' },
  Client: { credential: 'CLIENT DELEGATED CREDENTIAL', key: 'CLIENT DC PRIVATE KEY' },
} as const satisfies Record<Usage, unknown>;

/**
 * Tongsuo's format: lower-case hex on one line. It accepts exactly one newline at the end.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { toHex } from 'dcred/credential';
 *
 * assert.equal(toHex(Uint8Array.of(0x00, 0x76, 0xff)), '0076ff\n');
 */
export function toHex(bytes: Uint8Array): string {
  return `${Buffer.from(bytes).toString('hex')}\n`;
}

/**
 * tlslite-ng's format: PEM with the label `DELEGATED CREDENTIAL`.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { toPem } from 'dcred/credential';
 *
 * assert.match(toPem(Uint8Array.of(1)), /^-----BEGIN DELEGATED CREDENTIAL-----\n/);
 */
export function toPem(bytes: Uint8Array): string {
  return writePem(PEM_LABEL, bytes);
}

export interface FizzParts {
  readonly bytes: Uint8Array;
  readonly usage: Usage;
  /** The credential key, PEM `PRIVATE KEY`; Fizz takes P-256 only. */
  readonly keyPem: string;
  /** The leaf, then its chain. */
  readonly chainPem: string;
}

/**
 * Fizz's combined file. Its reader cuts the credential out between the two labels and decodes it strictly, so the base64
 * is on one line, unlike PEM's.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { readFileSync } from 'node:fs';
 * import { readCredentialFile, toFizz } from 'dcred/credential';
 *
 * const bytes = readFileSync('p256.dc');
 * const keyPem = readFileSync('p256.key', 'utf8');
 * const chainPem = readFileSync('leaf.crt', 'utf8');
 * const combined = toFizz({ bytes, usage: 'Server', keyPem, chainPem });
 * assert.equal(readCredentialFile(Buffer.from(combined)).usage, 'Server');
 */
export function toFizz({ bytes, chainPem, keyPem, usage }: FizzParts): string {
  const label = FIZZ_LABEL[usage];
  const [key] = readPem(keyPem);
  if (key?.label !== 'PRIVATE KEY') throw new TypeError('expected a key in PKCS#8 PEM');
  return [
    `-----BEGIN ${label.credential}-----\n${Buffer.from(bytes).toString('base64')}\n-----END ${label.credential}-----\n`,
    writePem(label.key, key.der),
    fizzChain(chainPem),
  ].join('');
}

/** The last chain, as Fizz reads it: a fleet's credentials are all of one. */
let lastChain = { pem: '', text: '' };

function fizzChain(pem: string): string {
  if (lastChain.pem === pem) return lastChain.text;
  const certificates = readPem(pem).filter(isCertificateBlock);
  const text = certificates.map((block) => writePem('CERTIFICATE', certificateDer(block))).join('');
  lastChain = { pem, text };
  return text;
}

/** The credential key in Fizz's combined file, PEM `PRIVATE KEY`; undefined where it has none. Throws MalformedCredentialError. */
export function fizzKeyPem(text: string, usage: Usage): string | undefined {
  const block = readBlocks(text).find(({ label }) => label === FIZZ_LABEL[usage].key);
  return block === undefined ? undefined : writePem('PRIVATE KEY', block.der);
}

export type CredentialFormat = 'raw' | 'hex' | 'pem' | 'fizz';

/** What a file with a credential holds. */
export interface CredentialFile {
  readonly format: CredentialFormat;
  /** struct DelegatedCredential, not yet decoded. */
  readonly bytes: Uint8Array;
  /** Known only for Fizz's file: no other format says. */
  readonly usage?: Usage;
  /** The first certificate of Fizz's file. */
  readonly leafPem?: string;
  /** Whether there is a private key in the file. The key itself is not passed on. */
  readonly holdsPrivateKey: boolean;
}

/**
 * Tells the contract's formats apart and takes the credential out. What is neither PEM nor hex is taken as raw.
 * Throws MalformedCredentialError `NotACredentialFile` for PEM without a credential, `TooLong` for what cannot be one.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { readFileSync } from 'node:fs';
 * import { readCredentialFile, toHex } from 'dcred/credential';
 *
 * const bytes = Uint8Array.from(readFileSync('p256.dc'));
 * const file = readCredentialFile(Buffer.from(toHex(bytes)));
 * assert.equal(file.format, 'hex');
 * assert.deepEqual(file.bytes, bytes);
 */
export function readCredentialFile(data: Uint8Array): CredentialFile {
  // Raw credentials never look like text: valid_time's first byte would have to be a printable character, 33 years.
  const text = Buffer.from(data).toString('latin1');
  if (text.includes('-----BEGIN ')) return readPemFile(text);
  const hex = text.trim();
  if (hex !== '' && /^[0-9a-fA-F]+$/.test(hex)) return readHexFile(hex);
  if (data.length > MAX_CREDENTIAL_BYTES) {
    const other = recognise(data);
    if (other !== undefined) throw new MalformedCredentialError('NotACredentialFile', other);
    throw new MalformedCredentialError(
      'TooLong',
      `a credential is at most ${MAX_CREDENTIAL_BYTES} bytes; got ${data.length}`,
    );
  }
  const bytes = Uint8Array.from(data);
  // What decodes is a credential, whatever it resembles.
  const other = isCredential(bytes) ? undefined : recognise(bytes);
  if (other !== undefined) throw new MalformedCredentialError('NotACredentialFile', other);
  return { format: 'raw', bytes, holdsPrivateKey: false };
}

function isCredential(bytes: Uint8Array): boolean {
  try {
    decodeDelegatedCredential(bytes);
    return true;
  } catch (error) {
    if (error instanceof MalformedCredentialError) return false;
    throw error;
  }
}

function readHexFile(hex: string): CredentialFile {
  if (hex.length % 2 !== 0) {
    throw new MalformedCredentialError('NotACredentialFile', `an odd number of hex digits (${hex.length})`);
  }
  return { format: 'hex', bytes: Uint8Array.from(Buffer.from(hex, 'hex')), holdsPrivateKey: false };
}

function readPemFile(text: string): CredentialFile {
  const blocks = readBlocks(text);
  const holdsPrivateKey = blocks.some((block) => block.label.endsWith('PRIVATE KEY'));
  for (const usage of ['Server', 'Client'] as const) {
    const found = blocks.find((block) => block.label === FIZZ_LABEL[usage].credential);
    if (found === undefined) continue;
    const leaf = blocks.find(isCertificateBlock);
    const leafPem = leaf === undefined ? {} : { leafPem: `${leaf.text}\n` };
    return { format: 'fizz', bytes: found.der, usage, ...leafPem, holdsPrivateKey };
  }
  const found = blocks.find((block) => block.label === PEM_LABEL);
  if (found !== undefined) return { format: 'pem', bytes: found.der, holdsPrivateKey };
  const other = recognise(Buffer.from(text));
  throw new MalformedCredentialError(
    'NotACredentialFile',
    other ??
      `no delegated credential among the PEM blocks: found ${printableList(blocks.map(({ label }) => label)) || 'none'}`,
  );
}

function readBlocks(text: string): readonly PemBlock[] {
  try {
    return readPem(text);
  } catch (error) {
    if (!(error instanceof PemError)) throw error;
    throw new MalformedCredentialError('NotACredentialFile', error.message, { cause: error });
  }
}
