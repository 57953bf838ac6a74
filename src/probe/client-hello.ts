/** The ClientHello (RFC 8446 section 4.1.2) of a client that knows delegated credentials, or of one that does not. */
import { isIP } from 'node:net';
import { CIPHER_SUITES } from './cipher-suite.ts';
import { GROUPS, type KeyShare } from './key-exchange.ts';
import { CERTIFICATE_ONLY_SCHEMES, CREDENTIAL_SCHEMES, PEER_SCHEMES } from './peer-signature.ts';
import { uint8, uint16, vector } from './presentation.ts';

export const TLS_1_2 = 0x0303;
export const TLS_1_3 = 0x0304;

/** RFC 8446 section 4.2, RFC 7301 and RFC 9345 section 4.1.1. */
export const EXTENSION = {
  serverName: 0,
  supportedGroups: 10,
  signatureAlgorithms: 13,
  applicationLayerProtocols: 16,
  delegatedCredential: 34,
  supportedVersions: 43,
  cookie: 44,
  keyShare: 51,
} as const;

export const HANDSHAKE = {
  clientHello: 1,
  serverHello: 2,
  newSessionTicket: 4,
  encryptedExtensions: 8,
  certificate: 11,
  certificateRequest: 13,
  certificateVerify: 15,
  finished: 20,
  messageHash: 254,
} as const;

export interface ClientHelloOptions {
  /** 32 bytes. */
  readonly random: Uint8Array;
  /** 32 bytes: makes middleboxes take it for a resumption of TLS 1.2 (RFC 8446 appendix D.4). */
  readonly sessionId: Uint8Array;
  /** A DNS name, sent as SNI. An IP address is not sent (RFC 6066 section 3). */
  readonly serverName: string | undefined;
  readonly alpn: readonly string[];
  readonly keyShare: KeyShare;
  /** What a HelloRetryRequest asked to see again. */
  readonly cookie?: Uint8Array;
  /** Whether it says that it takes delegated credentials. */
  readonly delegatedCredentials: boolean;
}

/** The handshake message, header included. */
export function encodeClientHello(options: ClientHelloOptions): Uint8Array {
  const body = Buffer.concat([
    uint16(TLS_1_2),
    options.random,
    vector(1, options.sessionId),
    vector(2, ...CIPHER_SUITES.map(({ code }) => uint16(code))),
    vector(1, uint8(0)),
    vector(2, ...extensions(options)),
  ]);
  return handshakeMessage(HANDSHAKE.clientHello, body);
}

/** Types of the extensions in such a ClientHello that a server may answer in EncryptedExtensions (RFC 8446 section 4.2). */
export function answerableExtensions({
  alpn,
  serverName,
}: Pick<ClientHelloOptions, 'alpn' | 'serverName'>): readonly number[] {
  return [
    EXTENSION.supportedGroups,
    ...(sentName(serverName) === undefined ? [] : [EXTENSION.serverName]),
    ...(alpn.length === 0 ? [] : [EXTENSION.applicationLayerProtocols]),
  ];
}

function sentName(serverName: string | undefined): string | undefined {
  return serverName === undefined || isIP(serverName) !== 0 ? undefined : serverName;
}

export function handshakeMessage(type: number, body: Uint8Array): Uint8Array {
  return Buffer.concat([uint8(type), vector(3, body)]);
}

function extensions(options: ClientHelloOptions): readonly Uint8Array[] {
  const { alpn, cookie, delegatedCredentials, keyShare, serverName } = options;
  const schemes = [...PEER_SCHEMES.map(({ code }) => code), ...CERTIFICATE_ONLY_SCHEMES];
  const sent: Uint8Array[] = [
    extension(EXTENSION.supportedVersions, vector(1, uint16(TLS_1_3))),
    extension(EXTENSION.supportedGroups, vector(2, ...GROUPS.map(({ code }) => uint16(code)))),
    extension(EXTENSION.signatureAlgorithms, vector(2, ...schemes.map(uint16))),
    extension(EXTENSION.keyShare, vector(2, uint16(keyShare.code), vector(2, keyShare.publicKey))),
  ];
  const name = sentName(serverName);
  if (name !== undefined) {
    sent.unshift(extension(EXTENSION.serverName, vector(2, uint8(0), vector(2, Buffer.from(name, 'ascii')))));
  }
  if (alpn.length > 0) {
    const names = alpn.map((name) => vector(1, Buffer.from(name, 'ascii')));
    sent.push(extension(EXTENSION.applicationLayerProtocols, vector(2, ...names)));
  }
  if (delegatedCredentials) {
    sent.push(extension(EXTENSION.delegatedCredential, vector(2, ...CREDENTIAL_SCHEMES.map(uint16))));
  }
  if (cookie !== undefined) sent.push(extension(EXTENSION.cookie, vector(2, cookie)));
  return sent;
}

function extension(type: number, data: Uint8Array): Uint8Array {
  return Buffer.concat([uint16(type), vector(2, data)]);
}
