/** The server's handshake messages (RFC 8446 section 4), read strictly: what was not offered is refused, nothing is skipped. */
import { printable } from '../text/printable.ts';
import { type CipherSuite, cipherSuiteByCode } from './cipher-suite.ts';
import { EXTENSION, TLS_1_2, TLS_1_3 } from './client-hello.ts';
import { GROUPS, type GroupName } from './key-exchange.ts';
import { CREDENTIAL_SCHEMES } from './peer-signature.ts';
import { Reader } from './presentation.ts';
import { TlsError } from './tls-error.ts';

/** SHA-256 of "HelloRetryRequest" (RFC 8446 section 4.1.3). */
const RETRY_RANDOM = Buffer.from('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c', 'hex');
const MAX_CERTIFICATES = 32;

export type ServerHello =
  | {
      readonly kind: 'retry';
      readonly suite: CipherSuite;
      readonly group: GroupName | undefined;
      readonly cookie: Uint8Array | undefined;
    }
  | { readonly kind: 'hello'; readonly suite: CipherSuite; readonly group: GroupName; readonly share: Uint8Array };

export interface CertificateMessage {
  /** DER, the leaf first. */
  readonly certificates: readonly [Uint8Array, ...Uint8Array[]];
  /** struct DelegatedCredential, as the leaf's entry carried it. */
  readonly credential: Uint8Array | undefined;
}

/** `sessionId`: what the ClientHello had, and the server must echo. Throws TlsError. */
export function readServerHello(body: Uint8Array, sessionId: Uint8Array): ServerHello {
  const reader = new Reader(body, 'ServerHello');
  const version = reader.uint16();
  const random = reader.take(32);
  const echoed = reader.vector(1);
  const suiteCode = reader.uint16();
  const compression = reader.uint8();
  const extensions = readExtensions(
    reader.remaining === 0 ? new Reader(new Uint8Array(0), 'ServerHello') : reader.nested(2),
  );
  reader.end();
  const versionExtension = extensions.get(EXTENSION.supportedVersions);
  if (versionExtension === undefined) {
    throw new TlsError('Unexpected', `the server answers with ${versionName(version)}: expected TLS 1.3`);
  }
  const selected = only(versionExtension, 'supported_versions', (data) => data.uint16());
  if (selected !== TLS_1_3 || version !== TLS_1_2 || compression !== 0) {
    throw new TlsError('Unexpected', `the server answers with ${versionName(selected)}: expected TLS 1.3`);
  }
  if (Buffer.compare(echoed, sessionId) !== 0) {
    throw new TlsError('Unexpected', 'the ServerHello does not echo the session id');
  }
  const suite = cipherSuiteByCode(suiteCode);
  if (suite === undefined) {
    throw new TlsError(
      'Unexpected',
      `the server chose cipher suite 0x${suiteCode.toString(16)}, which was not offered`,
    );
  }
  const isRetry = Buffer.compare(random, RETRY_RANDOM) === 0;
  return isRetry ? readRetry(suite, extensions) : readHello(suite, extensions);
}

function readRetry(suite: CipherSuite, extensions: Extensions): ServerHello {
  allow(extensions, 'a HelloRetryRequest', [EXTENSION.supportedVersions, EXTENSION.keyShare, EXTENSION.cookie]);
  const group = extensions.get(EXTENSION.keyShare);
  const cookie = extensions.get(EXTENSION.cookie);
  if (group === undefined && cookie === undefined) {
    throw new TlsError('Unexpected', 'a HelloRetryRequest changes nothing: expected a group or a cookie');
  }
  return {
    kind: 'retry',
    suite,
    group: group === undefined ? undefined : groupName(only(group, 'key_share', (data) => data.uint16())),
    cookie: cookie === undefined ? undefined : readCookie(cookie),
  };
}

/** It comes back in the ClientHello, which must hold it: servers send a few hundred bytes. */
const MAX_COOKIE_BYTES = 8_192;

function readCookie(data: Uint8Array): Uint8Array {
  const cookie = only(data, 'cookie', (reader) => reader.vector(2));
  if (cookie.length === 0) throw new TlsError('Malformed', 'a HelloRetryRequest has an empty cookie');
  if (cookie.length <= MAX_COOKIE_BYTES) return cookie;
  throw new TlsError('TooLarge', `a HelloRetryRequest has a cookie of ${cookie.length} bytes`);
}

function readHello(suite: CipherSuite, extensions: Extensions): ServerHello {
  allow(extensions, 'a ServerHello', [EXTENSION.supportedVersions, EXTENSION.keyShare]);
  const share = extensions.get(EXTENSION.keyShare);
  if (share === undefined) throw new TlsError('Unexpected', 'the ServerHello has no key share');
  return {
    kind: 'hello',
    suite,
    ...only(share, 'key_share', (data) => ({ group: groupName(data.uint16()), share: data.vector(2) })),
  };
}

export interface Offered {
  /** Types of extensions that the ClientHello had, and that may be answered here (RFC 8446 section 4.2). */
  readonly types: readonly number[];
  readonly alpn: readonly string[];
}

/** The protocol that ALPN chose, or undefined. Throws TlsError, also for an answer to what was not offered: clients end the handshake. */
export function readEncryptedExtensions(body: Uint8Array, offered: Offered): string | undefined {
  const reader = new Reader(body, 'EncryptedExtensions');
  const extensions = readExtensions(reader.nested(2));
  reader.end();
  if (extensions.has(EXTENSION.delegatedCredential)) {
    throw new TlsError('Unexpected', 'EncryptedExtensions has a delegated_credential: expected it on the leaf only');
  }
  allow(extensions, 'these EncryptedExtensions', offered.types);
  const alpn = extensions.get(EXTENSION.applicationLayerProtocols);
  if (alpn === undefined) return undefined;
  const chosen = only(alpn, 'application_layer_protocol_negotiation', (data) => {
    const names = data.nested(2);
    const name = Buffer.from(names.vector(1)).toString('latin1');
    names.end();
    return name;
  });
  if (offered.alpn.includes(chosen)) return chosen;
  throw new TlsError('Unexpected', `the server chose the protocol "${printable(chosen)}", which was not offered`);
}

/** `offered`: whether the ClientHello said that it takes credentials. Throws TlsError. */
export function readCertificateMessage(body: Uint8Array, offered: boolean): CertificateMessage {
  const reader = new Reader(body, 'Certificate');
  if (reader.vector(1).length > 0) throw new TlsError('Malformed', "the server's Certificate has a request context");
  const list = reader.nested(3);
  reader.end();
  const certificates: Uint8Array[] = [];
  let credential: Uint8Array | undefined;
  while (list.remaining > 0) {
    if (certificates.length === MAX_CERTIFICATES) {
      throw new TlsError('TooLarge', `the server sent more than ${MAX_CERTIFICATES} certificates`);
    }
    const der = list.vector(3);
    if (der.length === 0) throw new TlsError('Malformed', 'the server sent an empty certificate');
    const extensions = readExtensions(list.nested(2));
    allow(extensions, 'this Certificate', [EXTENSION.delegatedCredential]);
    const found = extensions.get(EXTENSION.delegatedCredential);
    // RFC 9345 section 4.1.1: only where the client asked for it. On any other certificate it is to be ignored.
    if (found !== undefined && !offered) {
      throw new TlsError('Unexpected', 'the server sent a delegated credential, which was not offered');
    }
    if (certificates.length === 0) credential = found;
    certificates.push(der);
  }
  const [leaf, ...chain] = certificates;
  if (leaf === undefined) throw new TlsError('Unexpected', 'the server sent no certificate');
  return { certificates: [leaf, ...chain], credential };
}

export interface CertificateVerify {
  readonly scheme: number;
  readonly signature: Uint8Array;
}

export function readCertificateVerify(body: Uint8Array): CertificateVerify {
  const reader = new Reader(body, 'CertificateVerify');
  const read = { scheme: reader.uint16(), signature: reader.vector(2) };
  reader.end();
  return read;
}

/** Whether a credential's key may sign by this scheme: one of those that the ClientHello offered. */
export function isOfferedCredentialScheme(scheme: number): boolean {
  return CREDENTIAL_SCHEMES.includes(scheme);
}

/** The certificate_request_context, to be echoed. */
export function readCertificateRequestContext(body: Uint8Array): Uint8Array {
  const reader = new Reader(body, 'CertificateRequest');
  const context = reader.vector(1);
  readExtensions(reader.nested(2));
  reader.end();
  return context;
}

type Extensions = ReadonlyMap<number, Uint8Array>;

function readExtensions(reader: Reader): Extensions {
  const extensions = new Map<number, Uint8Array>();
  while (reader.remaining > 0) {
    const type = reader.uint16();
    const data = reader.vector(2);
    if (extensions.has(type)) throw new TlsError('Malformed', `extension ${type} occurs twice`);
    extensions.set(type, data);
  }
  return extensions;
}

function allow(extensions: Extensions, message: string, types: readonly number[]): void {
  const other = [...extensions.keys()].find((type) => !types.includes(type));
  if (other !== undefined) throw new TlsError('Unexpected', `extension ${other} may not be in ${message}`);
}

function only<T>(data: Uint8Array, name: string, read: (reader: Reader) => T): T {
  const reader = new Reader(data, name);
  const value = read(reader);
  reader.end();
  return value;
}

function groupName(code: number): GroupName {
  const group = GROUPS.find((one) => one.code === code);
  if (group !== undefined) return group.name;
  throw new TlsError('Unexpected', `the server chose group 0x${code.toString(16)}, which was not offered`);
}

function versionName(version: number): string {
  const minor = version - 0x0301;
  return minor >= 0 && minor <= 3 ? `TLS 1.${minor}` : `version 0x${version.toString(16).padStart(4, '0')}`;
}
