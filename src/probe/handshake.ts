/**
 * A TLS 1.3 client as far as the server's Finished. No I/O: bytes in, bytes out.
 *
 *   start() -> ClientHello
 *        awaiting ServerHello --HelloRetryRequest, once--> ClientHello again
 *                 | ServerHello: handshake keys
 *        awaiting EncryptedExtensions
 *                 |
 *        awaiting Certificate (or a CertificateRequest before it)
 *                 |
 *        awaiting CertificateVerify: by the credential's key where one was served, else by the leaf's
 *                 |
 *        awaiting Finished -> our Finished, close_notify; the outcome
 *
 * The server proves in CertificateVerify that it holds the key; whether certificate and credential are good is decided by
 * whoever reads the outcome (assess.ts), so that a bad one is described and not just refused.
 */
import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { DelegatedCredential } from '../credential/wire.ts';
import { decodeDelegatedCredential } from '../credential/wire.ts';
import { alertName } from '../text/tls-alert.ts';
import type { CipherSuite } from './cipher-suite.ts';
import { answerableExtensions, encodeClientHello, HANDSHAKE, handshakeMessage } from './client-hello.ts';
import type { GroupName, KeyShare } from './key-exchange.ts';
import {
  clientApplicationSecret,
  digest,
  finishedData,
  type HandshakeSecrets,
  handshakeSecrets,
} from './key-schedule.ts';
import { schemeName, verifyServerSignature } from './peer-signature.ts';
import { uint8, vector } from './presentation.ts';
import { CONTENT, type PlainRecord, Protection, plainRecords, RecordReader } from './record.ts';
import {
  type CertificateMessage,
  isOfferedCredentialScheme,
  readCertificateMessage,
  readCertificateRequestContext,
  readCertificateVerify,
  readEncryptedExtensions,
  readServerHello,
  type ServerHello,
} from './server-messages.ts';
import { messageName, TlsError } from './tls-error.ts';

export interface HandshakeOptions {
  /** Sent as SNI where it is a DNS name. */
  readonly serverName: string | undefined;
  readonly alpn: readonly string[];
  /** Whether to offer delegated credentials. */
  readonly delegatedCredentials: boolean;
  /** The group of the first key share. */
  readonly firstGroup: GroupName;
  readonly randomBytes: (length: number) => Uint8Array;
  readonly generateKeyShare: (group: GroupName) => KeyShare;
}

/** What the server proved that it serves. */
export interface HandshakeOutcome {
  readonly cipherSuite: string;
  readonly group: GroupName;
  readonly retried: boolean;
  readonly alpn: string | undefined;
  readonly clientCertificateRequested: boolean;
  /** DER, the leaf first. */
  readonly certificates: readonly [Uint8Array, ...Uint8Array[]];
  /** struct DelegatedCredential, where one was served. */
  readonly credential: Uint8Array | undefined;
  /** The SignatureScheme of CertificateVerify. */
  readonly signatureScheme: string;
}

export interface HandshakeStep {
  /** To be sent; may be empty. */
  readonly send: Uint8Array;
  readonly outcome: HandshakeOutcome | undefined;
}

/** A Certificate of ten certificates is 15 kB; the largest is as long as all that may arrive. */
const MAX_MESSAGE_BYTES = 256 * 1024;
/** Middlebox compatibility takes one; whoever sends more means harm (RFC 8446 appendix D.4). */
const MAX_CHANGE_CIPHER_SPECS = 4;
/** An alert (RFC 8446 section 6.1). */
const CLOSE_NOTIFY = 0;
const NOTHING = new Uint8Array(0);
/** A message's type and its length. */
const MESSAGE_HEADER_BYTES = 4;

type Awaiting = 'ServerHello' | 'EncryptedExtensions' | 'Certificate' | 'CertificateVerify' | 'Finished';

export class ClientHandshake {
  readonly #options: HandshakeOptions;
  readonly #records = new RecordReader();
  readonly #random: Uint8Array;
  readonly #sessionId: Uint8Array;
  readonly #transcript: Uint8Array[] = [];
  #keyShare: KeyShare;
  #awaiting: Awaiting = 'ServerHello';
  #retry: { readonly suite: CipherSuite; readonly group: GroupName } | undefined;
  #suite: CipherSuite | undefined;
  #secrets: HandshakeSecrets | undefined;
  /** Of messages that are not whole yet. */
  #pieces: Uint8Array[] = [];
  #pieceBytes = 0;
  /** Joining the pieces is not worth it before: a server that sends single bytes would make it quadratic. */
  #neededBytes = MESSAGE_HEADER_BYTES;
  #changeCipherSpecs = 0;
  #alpn: string | undefined;
  #requestContext: Uint8Array | undefined;
  #served: CertificateMessage | undefined;
  #signatureScheme = '';

  constructor(options: HandshakeOptions) {
    this.#options = options;
    this.#random = options.randomBytes(32);
    this.#sessionId = options.randomBytes(32);
    this.#keyShare = options.generateKeyShare(options.firstGroup);
  }

  /** The first flight. */
  start(): Uint8Array {
    return plainRecords(CONTENT.handshake, this.#clientHello());
  }

  /** Takes what arrived. Throws TlsError; the handshake is over then. */
  receive(bytes: Uint8Array): HandshakeStep {
    this.#records.push(bytes);
    const send: Uint8Array[] = [];
    for (let record = this.#records.next(); record !== undefined; record = this.#records.next()) {
      for (const message of this.#messagesOf(record)) {
        const progress = this.#take(message);
        send.push(progress.send);
        if (progress.outcome !== undefined) return { send: Buffer.concat(send), outcome: progress.outcome };
      }
    }
    return { send: Buffer.concat(send), outcome: undefined };
  }

  /** The connection ended. Throws TlsError. */
  closed(): never {
    throw new TlsError('Closed', `the server closed the connection where its ${this.#awaiting} was expected`);
  }

  #clientHello(cookie?: Uint8Array): Uint8Array {
    const message = encodeClientHello({
      random: this.#random,
      sessionId: this.#sessionId,
      serverName: this.#options.serverName,
      alpn: this.#options.alpn,
      keyShare: this.#keyShare,
      delegatedCredentials: this.#options.delegatedCredentials,
      ...(cookie === undefined ? {} : { cookie }),
    });
    this.#transcript.push(message);
    return message;
  }

  *#messagesOf({ content, type }: PlainRecord): Generator<Uint8Array> {
    if (type !== CONTENT.handshake && this.#pieceBytes > 0) {
      throw new TlsError('Unexpected', 'a record of another type interrupts a handshake message');
    }
    if (type === CONTENT.changeCipherSpec) return this.#countChangeCipherSpec(content);
    if (type === CONTENT.alert) {
      if (content.length === 2 && content[1] === CLOSE_NOTIFY) this.closed();
      throw readAlert(content);
    }
    if (type !== CONTENT.handshake)
      throw new TlsError('Unexpected', `the server sent ${recordName(type)} before its Finished`);
    // RFC 8446 section 5.1: no empty fragments of a handshake.
    if (content.length === 0) throw new TlsError('Malformed', 'an empty record of handshake messages');
    this.#pieces.push(content);
    this.#pieceBytes += content.length;
    while (this.#pieceBytes >= this.#neededBytes) {
      const bytes = Buffer.concat(this.#pieces);
      const end = MESSAGE_HEADER_BYTES + bytes.readUIntBE(1, 3);
      if (end > MAX_MESSAGE_BYTES) throw new TlsError('TooLarge', `a handshake message of ${end} bytes`);
      const isWhole = bytes.length >= end;
      this.#keepPieces(isWhole ? bytes.subarray(end) : bytes, isWhole ? MESSAGE_HEADER_BYTES : end);
      if (isWhole) yield bytes.subarray(0, end);
    }
  }

  #keepPieces(rest: Uint8Array, neededBytes: number): void {
    this.#pieces = [rest];
    this.#pieceBytes = rest.length;
    this.#neededBytes = neededBytes;
  }

  #countChangeCipherSpec(content: Uint8Array): void {
    this.#changeCipherSpecs += 1;
    if (content.length !== 1 || content[0] !== 1 || this.#changeCipherSpecs > MAX_CHANGE_CIPHER_SPECS) {
      throw new TlsError('Unexpected', 'the server sent a change_cipher_spec that TLS 1.3 does not allow');
    }
  }

  #take(message: Uint8Array): HandshakeStep {
    const [type = 0] = message;
    const body = message.subarray(4);
    if (this.#awaiting === 'ServerHello') return this.#takeServerHello(type, message, body);
    if (
      this.#awaiting === 'Certificate' &&
      type === HANDSHAKE.certificateRequest &&
      this.#requestContext === undefined
    ) {
      this.#requestContext = readCertificateRequestContext(body);
      this.#transcript.push(message);
      return { send: NOTHING, outcome: undefined };
    }
    if (type !== TYPES[this.#awaiting]) {
      throw new TlsError('Unexpected', `the server sent ${messageName(type)} where its ${this.#awaiting} was expected`);
    }
    switch (this.#awaiting) {
      case 'EncryptedExtensions':
        this.#alpn = readEncryptedExtensions(body, {
          types: answerableExtensions(this.#options),
          alpn: this.#options.alpn,
        });
        return this.#next('Certificate', message);
      case 'Certificate':
        this.#served = readCertificateMessage(body, this.#options.delegatedCredentials);
        return this.#next('CertificateVerify', message);
      case 'CertificateVerify':
        this.#verifySignature(body);
        return this.#next('Finished', message);
      case 'Finished':
        return this.#finish(message, body);
    }
  }

  #next(awaiting: Awaiting, message: Uint8Array): HandshakeStep {
    this.#transcript.push(message);
    this.#awaiting = awaiting;
    return { send: NOTHING, outcome: undefined };
  }

  #takeServerHello(type: number, message: Uint8Array, body: Uint8Array): HandshakeStep {
    if (type !== HANDSHAKE.serverHello) {
      throw new TlsError('Unexpected', `the server sent ${messageName(type)} where its ServerHello was expected`);
    }
    const hello = readServerHello(body, this.#sessionId);
    if (hello.kind === 'retry') return this.#startAgain(hello, message);
    if (this.#pieceBytes > 0) {
      throw new TlsError('Unexpected', 'unprotected bytes follow the ServerHello: expected a change of keys');
    }
    if (hello.group !== this.#keyShare.group || (this.#retry !== undefined && this.#retry.suite !== hello.suite)) {
      throw new TlsError('Unexpected', 'the ServerHello does not fit the key share or the HelloRetryRequest');
    }
    this.#suite = hello.suite;
    this.#transcript.push(message);
    const shared = this.#keyShare.agree(hello.share);
    this.#secrets = handshakeSecrets(hello.suite, shared, digest(hello.suite, ...this.#transcript));
    this.#records.protect(new Protection(hello.suite, this.#secrets.server));
    this.#awaiting = 'EncryptedExtensions';
    return { send: NOTHING, outcome: undefined };
  }

  /** RFC 8446 section 4.1.4, and 4.4.1 for the transcript: the first ClientHello counts as its hash. */
  #startAgain(retry: Extract<ServerHello, { kind: 'retry' }>, message: Uint8Array): HandshakeStep {
    const { cookie, group = this.#keyShare.group, suite } = retry;
    if (this.#retry !== undefined) throw new TlsError('Unexpected', 'the server sent a second HelloRetryRequest');
    if (retry.group === this.#keyShare.group) {
      throw new TlsError('Unexpected', 'the HelloRetryRequest asks for the group that was sent');
    }
    this.#retry = { suite, group };
    const first = handshakeMessage(HANDSHAKE.messageHash, digest(suite, ...this.#transcript.splice(0)));
    this.#transcript.push(first, message);
    if (group !== this.#keyShare.group) this.#keyShare = this.#options.generateKeyShare(group);
    const hello = plainRecords(CONTENT.handshake, this.#clientHello(cookie));
    return { send: Buffer.concat([plainRecords(CONTENT.changeCipherSpec, uint8(1)), hello]), outcome: undefined };
  }

  #verifySignature(body: Uint8Array): void {
    const { served, suite } = this.#established();
    const { scheme, signature } = readCertificateVerify(body);
    const credential = served.credential === undefined ? undefined : decodeServed(served.credential);
    // RFC 9345 section 4.1.3: the scheme is the one that the credential names.
    if (credential !== undefined) {
      if (!isOfferedCredentialScheme(credential.dcCertVerifyAlgorithm)) {
        throw new TlsError(
          'Unexpected',
          `the credential's dc_cert_verify_algorithm is ${schemeName(credential.dcCertVerifyAlgorithm)}, which was not offered`,
        );
      }
      if (scheme !== credential.dcCertVerifyAlgorithm) {
        throw new TlsError(
          'Unexpected',
          `CertificateVerify is by ${schemeName(scheme)}: expected the credential's ${schemeName(credential.dcCertVerifyAlgorithm)}`,
        );
      }
    }
    const key = credential === undefined ? leafKey(served.certificates[0]) : credentialKey(credential);
    if (!verifyServerSignature(scheme, key, digest(suite, ...this.#transcript), signature)) {
      const holder = credential === undefined ? "the certificate's" : "the credential's";
      throw new TlsError('BadSignature', `CertificateVerify (${schemeName(scheme)}) is not signed by ${holder} key`);
    }
    this.#signatureScheme = schemeName(scheme);
  }

  #finish(message: Uint8Array, body: Uint8Array): HandshakeStep {
    const { secrets, served, suite } = this.#established();
    const expected = finishedData(suite, secrets.server, digest(suite, ...this.#transcript));
    if (Buffer.compare(body, expected) !== 0)
      throw new TlsError('BadFinished', "the server's Finished does not verify");
    this.#transcript.push(message);
    return {
      send: this.#farewell(suite, secrets),
      outcome: {
        cipherSuite: suite.name,
        group: this.#keyShare.group,
        retried: this.#retry !== undefined,
        alpn: this.#alpn,
        clientCertificateRequested: this.#requestContext !== undefined,
        certificates: served.certificates,
        credential: served.credential,
        signatureScheme: this.#signatureScheme,
      },
    };
  }

  /** Our Finished and a close_notify, so that the server logs a handshake that went well and a connection that ended. */
  #farewell(suite: CipherSuite, secrets: HandshakeSecrets): Uint8Array {
    const handshake = new Protection(suite, secrets.client);
    const application = clientApplicationSecret(suite, secrets.handshake, digest(suite, ...this.#transcript));
    const sent: Uint8Array[] = [];
    if (this.#requestContext !== undefined) {
      // An empty list: we have no certificate (RFC 8446 section 4.4.2).
      const message = handshakeMessage(
        HANDSHAKE.certificate,
        Buffer.concat([vector(1, this.#requestContext), vector(3)]),
      );
      this.#transcript.push(message);
      sent.push(message);
    }
    const verifyData = finishedData(suite, secrets.client, digest(suite, ...this.#transcript));
    sent.push(handshakeMessage(HANDSHAKE.finished, verifyData));
    return Buffer.concat([
      this.#retry === undefined ? plainRecords(CONTENT.changeCipherSpec, uint8(1)) : NOTHING,
      handshake.seal(CONTENT.handshake, Buffer.concat(sent)),
      new Protection(suite, application).seal(CONTENT.alert, Uint8Array.of(1, 0)),
    ]);
  }

  #established(): {
    readonly suite: CipherSuite;
    readonly secrets: HandshakeSecrets;
    readonly served: CertificateMessage;
  } {
    const [suite, secrets, served] = [this.#suite, this.#secrets, this.#served];
    if (suite === undefined || secrets === undefined || served === undefined) {
      throw new TypeError('the handshake has no keys or no certificate yet');
    }
    return { suite, secrets, served };
  }
}

const TYPES = {
  ServerHello: HANDSHAKE.serverHello,
  EncryptedExtensions: HANDSHAKE.encryptedExtensions,
  Certificate: HANDSHAKE.certificate,
  CertificateVerify: HANDSHAKE.certificateVerify,
  Finished: HANDSHAKE.finished,
} as const satisfies Readonly<Record<Awaiting, number>>;

function recordName(type: number): string {
  return type === CONTENT.applicationData ? 'application data' : `a record of type ${type}`;
}

function readAlert(content: Uint8Array): TlsError {
  const [, description] = content;
  if (content.length !== 2 || description === undefined)
    return new TlsError('Malformed', 'an alert is not two bytes long');
  const alert = alertName(description);
  return new TlsError('Alert', `the server refuses the handshake: ${alert}`, { alert });
}

function decodeServed(bytes: Uint8Array): DelegatedCredential {
  try {
    return decodeDelegatedCredential(bytes);
  } catch (cause) {
    throw new TlsError('Malformed', `the delegated credential is malformed: ${(cause as Error).message}`, { cause });
  }
}

function credentialKey({ subjectPublicKeyInfo }: DelegatedCredential): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(subjectPublicKeyInfo), format: 'der', type: 'spki' });
  } catch (cause) {
    throw new TlsError('Malformed', "the delegated credential's key cannot be read", { cause });
  }
}

function leafKey(der: Uint8Array): KeyObject {
  try {
    return new X509Certificate(der).publicKey;
  } catch (cause) {
    throw new TlsError('Malformed', "the server's certificate cannot be read", { cause });
  }
}
