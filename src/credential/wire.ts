/** The wire format of delegated credentials (RFC 9345 section 4), read strictly. Pure. */
import { type MalformedCredentialCode, MalformedCredentialError } from './errors.ts';
import type { Usage } from './scheme.ts';

/** What is delegated: the part that the delegation key signs (RFC 9345 section 4, struct Credential). */
export interface Credential {
  /** Seconds after the delegation certificate's notBefore at which the credential expires; a u32. */
  readonly validTime: number;
  /** SignatureScheme that the credential key will use in CertificateVerify; a u16. */
  readonly dcCertVerifyAlgorithm: number;
  /** The credential key's public half, DER. */
  readonly subjectPublicKeyInfo: Uint8Array;
}

/** RFC 9345 section 4, struct DelegatedCredential. */
export interface DelegatedCredential extends Credential {
  /** SignatureScheme of `signature`; a u16. */
  readonly algorithm: number;
  readonly signature: Uint8Array;
}

/** A credential travels as the data of one TLS extension, whose length is a u16 (RFC 8446 section 4.2). */
export const MAX_CREDENTIAL_BYTES = 0xffff;

const U16_MAX = 0xffff;
const U32_MAX = 0xffff_ffff;

/**
 * Writes struct Credential. Throws MalformedCredentialError for a field that does not fit.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { encodeCredential } from 'dcred/credential';
 *
 * const credential = { validTime: 60, dcCertVerifyAlgorithm: 0x0403, subjectPublicKeyInfo: Uint8Array.of(1) };
 * assert.equal(Buffer.from(encodeCredential(credential)).toString('hex'), '0000003c040300000101');
 */
export function encodeCredential(credential: Credential): Uint8Array {
  const { validTime, dcCertVerifyAlgorithm, subjectPublicKeyInfo: spki } = credential;
  checkInteger('ValidTimeOutOfRange', 'valid_time', validTime, U32_MAX);
  checkInteger('AlgorithmOutOfRange', 'dc_cert_verify_algorithm', dcCertVerifyAlgorithm, U16_MAX);
  if (spki.length === 0) throw new MalformedCredentialError('EmptyPublicKey', 'the public key is empty');
  checkLength(9 + spki.length);
  const bytes = new Uint8Array(9 + spki.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, validTime);
  view.setUint16(4, dcCertVerifyAlgorithm);
  view.setUint8(6, spki.length >>> 16);
  view.setUint16(7, spki.length & U16_MAX);
  bytes.set(spki, 9);
  return bytes;
}

/**
 * Writes struct DelegatedCredential. Throws MalformedCredentialError for a field that does not fit.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { readFileSync } from 'node:fs';
 * import { decodeDelegatedCredential, encodeDelegatedCredential } from 'dcred/credential';
 *
 * const bytes = Uint8Array.from(readFileSync('p256.dc'));
 * assert.deepEqual(encodeDelegatedCredential(decodeDelegatedCredential(bytes)), bytes);
 */
export function encodeDelegatedCredential(dc: DelegatedCredential): Uint8Array {
  checkInteger('AlgorithmOutOfRange', 'algorithm', dc.algorithm, U16_MAX);
  if (dc.signature.length === 0) throw new MalformedCredentialError('EmptySignature', 'the signature is empty');
  const credential = encodeCredential(dc);
  checkLength(credential.length + 4 + dc.signature.length);
  const bytes = new Uint8Array(credential.length + 4 + dc.signature.length);
  const view = new DataView(bytes.buffer);
  bytes.set(credential);
  view.setUint16(credential.length, dc.algorithm);
  view.setUint16(credential.length + 2, dc.signature.length);
  bytes.set(dc.signature, credential.length + 4);
  return bytes;
}

/**
 * Reads struct DelegatedCredential. Strict: every byte is accounted for, so decoding and encoding are each other's inverse.
 * Throws MalformedCredentialError.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { readFileSync } from 'node:fs';
 * import { decodeDelegatedCredential } from 'dcred/credential';
 *
 * assert.equal(decodeDelegatedCredential(readFileSync('p256.dc')).dcCertVerifyAlgorithm, 0x0403);
 * assert.throws(() => decodeDelegatedCredential(Uint8Array.of(0)), { code: 'TruncatedValidTime' });
 */
export function decodeDelegatedCredential(bytes: Uint8Array): DelegatedCredential {
  checkLength(bytes.length);
  const reader = new Reader(bytes);
  const validTime = reader.uint(4, 'TruncatedValidTime', 'valid_time');
  const dcCertVerifyAlgorithm = reader.uint(2, 'TruncatedVerifyAlgorithm', 'dc_cert_verify_algorithm');
  const spkiLength = reader.uint(3, 'TruncatedPublicKeyLength', "the public key's length");
  if (spkiLength === 0) throw new MalformedCredentialError('EmptyPublicKey', 'the public key is empty');
  const subjectPublicKeyInfo = reader.take(spkiLength, 'TruncatedPublicKey', 'the public key');
  const algorithm = reader.uint(2, 'TruncatedAlgorithm', 'algorithm');
  const signatureLength = reader.uint(2, 'TruncatedSignatureLength', "the signature's length");
  if (signatureLength === 0) throw new MalformedCredentialError('EmptySignature', 'the signature is empty');
  const signature = reader.take(signatureLength, 'TruncatedSignature', 'the signature');
  if (reader.rest > 0) {
    throw new MalformedCredentialError('TrailingBytes', `${reader.rest} bytes follow the signature; expected none`);
  }
  return { validTime, dcCertVerifyAlgorithm, subjectPublicKeyInfo, algorithm, signature };
}

const CONTEXT = {
  Server: 'TLS, server delegated credentials',
  Client: 'TLS, client delegated credentials',
} as const satisfies Record<Usage, string>;

/**
 * The bytes that `signature` signs (RFC 9345 section 4). `certificate` is the DER of the delegation certificate.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { signatureInput } from 'dcred/credential';
 *
 * const credential = { validTime: 60, dcCertVerifyAlgorithm: 0x0403, subjectPublicKeyInfo: Uint8Array.of(1) };
 * const input = Buffer.from(signatureInput('Server', Uint8Array.of(0x30, 0), credential, 0x0403)).toString('latin1');
 * assert.ok(input.startsWith(`${' '.repeat(64)}TLS, server delegated credentials\0`));
 */
export function signatureInput(
  usage: Usage,
  certificate: Uint8Array,
  credential: Credential,
  algorithm: number,
): Uint8Array {
  checkInteger('AlgorithmOutOfRange', 'algorithm', algorithm, U16_MAX);
  return Buffer.concat([
    Buffer.alloc(64, 0x20),
    Buffer.from(CONTEXT[usage], 'latin1'),
    Uint8Array.of(0),
    certificate,
    encodeCredential(credential),
    Uint8Array.of(algorithm >>> 8, algorithm & 0xff),
  ]);
}

class Reader {
  readonly #bytes: Uint8Array;
  #position = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get rest(): number {
    return this.#bytes.length - this.#position;
  }

  /** A copy, so that the result does not keep (or change with) the buffer it came from. */
  take(length: number, code: MalformedCredentialCode, what: string): Uint8Array {
    this.#need(length, code, what);
    this.#position += length;
    return new Uint8Array(this.#bytes.subarray(this.#position - length, this.#position));
  }

  uint(length: number, code: MalformedCredentialCode, what: string): number {
    this.#need(length, code, what);
    let value = 0;
    for (const end = this.#position + length; this.#position < end; this.#position += 1) {
      value = value * 256 + (this.#bytes[this.#position] ?? 0);
    }
    return value;
  }

  #need(length: number, code: MalformedCredentialCode, what: string): void {
    if (this.rest >= length) return;
    throw new MalformedCredentialError(
      code,
      `${what} needs ${length} bytes at offset ${this.#position}; ${this.rest} left`,
    );
  }
}

function checkInteger(code: MalformedCredentialCode, what: string, value: number, max: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= max) return;
  throw new MalformedCredentialError(code, `${what} must be an integer from 0 to ${max}; got ${value}`);
}

function checkLength(length: number): void {
  if (length <= MAX_CREDENTIAL_BYTES) return;
  throw new MalformedCredentialError(
    'TooLong',
    `a credential is at most ${MAX_CREDENTIAL_BYTES} bytes, the size of a TLS extension; got ${length}`,
  );
}
