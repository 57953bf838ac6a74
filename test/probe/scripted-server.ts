/** A TLS 1.3 server that sends whatever a test says, under the right keys, which no real server can be made to do. Not for real use. */
import { type CipherSuite, cipherSuiteByCode } from '../../src/probe/cipher-suite.ts';
import { EXTENSION, HANDSHAKE, handshakeMessage, TLS_1_2, TLS_1_3 } from '../../src/probe/client-hello.ts';
import { type GroupName, generateKeyShare, type KeyShare } from '../../src/probe/key-exchange.ts';
import { digest, finishedData, handshakeSecrets } from '../../src/probe/key-schedule.ts';
import { uint8, uint16, vector } from '../../src/probe/presentation.ts';
import { Protection, plainRecords } from '../../src/probe/record.ts';

const RETRY_RANDOM = Buffer.from('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c', 'hex');
const HANDSHAKE_RECORD = 22;

interface Session {
  readonly clientShare: KeyShare;
  readonly sessionId: Uint8Array;
  /** The first flight of the client: one record. */
  readonly clientHello: Uint8Array;
}

export const extension = (type: number, data: Uint8Array) => Buffer.concat([uint16(type), vector(2, data)]);
const VERSION = extension(EXTENSION.supportedVersions, uint16(TLS_1_3));

function serverHello(sessionId: Uint8Array, random: Uint8Array, ...extensions: readonly Uint8Array[]): Uint8Array {
  const start = [uint16(TLS_1_2), random, vector(1, sessionId), uint16(0x1301), uint8(0)];
  return handshakeMessage(HANDSHAKE.serverHello, Buffer.concat([...start, vector(2, VERSION, ...extensions)]));
}

/** A whole record, unprotected. */
export function helloRetryRequest(
  sessionId: Uint8Array,
  { cookie, group }: { readonly cookie?: Uint8Array; readonly group?: GroupName },
): Uint8Array {
  const share = { x25519: 0x001d, secp256r1: 0x0017, secp384r1: 0x0018, secp521r1: 0x0019 } as const;
  const extensions = [
    ...(group === undefined ? [] : [extension(EXTENSION.keyShare, uint16(share[group]))]),
    ...(cookie === undefined ? [] : [extension(EXTENSION.cookie, vector(2, cookie))]),
  ];
  return plainRecords(HANDSHAKE_RECORD, serverHello(sessionId, RETRY_RANDOM, ...extensions));
}

export class ScriptedServer {
  /** The ServerHello's record. */
  readonly hello: Uint8Array;
  readonly #suite: CipherSuite;
  readonly #protection: Protection;
  readonly #secret: Uint8Array;
  readonly #transcript: Uint8Array[];

  constructor({ clientHello, clientShare, sessionId }: Session) {
    const suite = cipherSuiteByCode(0x1301);
    if (suite === undefined) throw new TypeError('the client has no TLS_AES_128_GCM_SHA256');
    const own = generateKeyShare(clientShare.group);
    const share = extension(EXTENSION.keyShare, Buffer.concat([uint16(own.code), vector(2, own.publicKey)]));
    const message = serverHello(sessionId, new Uint8Array(32).fill(9), share);
    this.hello = plainRecords(HANDSHAKE_RECORD, message);
    this.#suite = suite;
    this.#transcript = [clientHello.subarray(5), message];
    const secrets = handshakeSecrets(suite, own.agree(clientShare.publicKey), digest(suite, ...this.#transcript));
    this.#secret = secrets.server;
    this.#protection = new Protection(suite, secrets.server);
  }

  /** A protected record. */
  record(type: number, content: Uint8Array): Uint8Array {
    return this.#protection.seal(type, content);
  }

  /** A message in its own record, added to the transcript. */
  message(type: number, body: Uint8Array): Uint8Array {
    const message = handshakeMessage(type, body);
    this.#transcript.push(message);
    return this.record(HANDSHAKE_RECORD, message);
  }

  encryptedExtensions(...extensions: readonly Uint8Array[]): Uint8Array {
    return this.message(HANDSHAKE.encryptedExtensions, vector(2, ...extensions));
  }

  certificate(...chain: readonly Uint8Array[]): Uint8Array {
    return this.certificateWith(chain, []);
  }

  /** With the same extensions of every certificate. */
  certificateWith(chain: readonly Uint8Array[], extensions: readonly Uint8Array[]): Uint8Array {
    const entries = chain.map((der) => Buffer.concat([vector(3, der), vector(2, ...extensions)]));
    return this.message(HANDSHAKE.certificate, Buffer.concat([vector(1), vector(3, ...entries)]));
  }

  /** Signs with ecdsa_secp256r1_sha256. */
  certificateVerify(sign: (content: Uint8Array) => Uint8Array): Uint8Array {
    const context = Buffer.from(`${' '.repeat(64)}TLS 1.3, server CertificateVerify\0`);
    const content = Buffer.concat([context, digest(this.#suite, ...this.#transcript)]);
    return this.message(HANDSHAKE.certificateVerify, Buffer.concat([uint16(0x0403), vector(2, sign(content))]));
  }

  finished(): Uint8Array {
    const data = finishedData(this.#suite, this.#secret, digest(this.#suite, ...this.#transcript));
    return this.message(HANDSHAKE.finished, data);
  }
}
