/**
 * TLS 1.3's key schedule (RFC 8446 section 7.1) without a pre-shared key, as far as a client needs it to read the server's
 * handshake and to end it politely. Pure: transcripts and secrets in, secrets out.
 *
 *     0 -> HKDF-Extract(0) = early secret
 *                |  "derived"
 *     (EC)DHE -> HKDF-Extract = handshake secret -> "c hs traffic", "s hs traffic"
 *                |  "derived"
 *     0 -> HKDF-Extract = master secret -> "c ap traffic"
 */
import { createHash, createHmac } from 'node:crypto';
import type { CipherSuite } from './cipher-suite.ts';
import { uint16, vector } from './presentation.ts';

type Hash = Pick<CipherSuite, 'hash' | 'hashLength'>;

export interface TrafficKeys {
  readonly key: Uint8Array;
  readonly iv: Uint8Array;
}

export interface HandshakeSecrets {
  readonly handshake: Uint8Array;
  readonly client: Uint8Array;
  readonly server: Uint8Array;
}

const LABEL_PREFIX = 'tls13 ';

export function digest({ hash }: Hash, ...parts: readonly Uint8Array[]): Uint8Array {
  const running = createHash(hash);
  for (const part of parts) running.update(part);
  return running.digest();
}

/** `transcriptHash`: of ClientHello to ServerHello. */
export function handshakeSecrets(suite: Hash, shared: Uint8Array, transcriptHash: Uint8Array): HandshakeSecrets {
  const zeros = new Uint8Array(suite.hashLength);
  const early = hkdfExtract(suite, zeros, zeros);
  const handshake = hkdfExtract(suite, deriveSecret(suite, early, 'derived', digest(suite)), shared);
  return {
    handshake,
    client: deriveSecret(suite, handshake, 'c hs traffic', transcriptHash),
    server: deriveSecret(suite, handshake, 's hs traffic', transcriptHash),
  };
}

/** The secret that the client protects application data by; `transcriptHash`: of ClientHello to the server's Finished. */
export function clientApplicationSecret(suite: Hash, handshake: Uint8Array, transcriptHash: Uint8Array): Uint8Array {
  const zeros = new Uint8Array(suite.hashLength);
  const master = hkdfExtract(suite, deriveSecret(suite, handshake, 'derived', digest(suite)), zeros);
  return deriveSecret(suite, master, 'c ap traffic', transcriptHash);
}

/** RFC 8446 section 7.3. */
export function trafficKeys(suite: Hash & Pick<CipherSuite, 'keyLength'>, secret: Uint8Array): TrafficKeys {
  const nothing = new Uint8Array(0);
  return {
    key: hkdfExpandLabel(suite, secret, 'key', nothing, suite.keyLength),
    iv: hkdfExpandLabel(suite, secret, 'iv', nothing, 12),
  };
}

/** The verify_data of whoever has this traffic secret (RFC 8446 section 4.4.4). */
export function finishedData(suite: Hash, secret: Uint8Array, transcriptHash: Uint8Array): Uint8Array {
  const key = hkdfExpandLabel(suite, secret, 'finished', new Uint8Array(0), suite.hashLength);
  return createHmac(suite.hash, key).update(transcriptHash).digest();
}

function deriveSecret(suite: Hash, secret: Uint8Array, label: string, transcriptHash: Uint8Array): Uint8Array {
  return hkdfExpandLabel(suite, secret, label, transcriptHash, suite.hashLength);
}

function hkdfExtract({ hash }: Hash, salt: Uint8Array, keyMaterial: Uint8Array): Uint8Array {
  return createHmac(hash, salt).update(keyMaterial).digest();
}

/** By hand, since node:crypto's hkdf cannot leave out the extraction. Here `length` never exceeds one block. */
function hkdfExpandLabel(
  { hash }: Hash,
  secret: Uint8Array,
  label: string,
  context: Uint8Array,
  length: number,
): Uint8Array {
  const info = Buffer.concat([uint16(length), vector(1, Buffer.from(LABEL_PREFIX + label)), vector(1, context)]);
  return createHmac(hash, secret).update(info).update(Uint8Array.of(1)).digest().subarray(0, length);
}
