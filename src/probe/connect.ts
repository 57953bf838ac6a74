/** The probe's I/O: one connection, one deadline, at most one handshake. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { explainConnectionError } from '../text/system-error.ts';
import { ClientHandshake, type HandshakeOptions, type HandshakeOutcome } from './handshake.ts';
import { generateKeyShare } from './key-exchange.ts';
import { StartTls, type StartTlsProtocol } from './starttls.ts';
import type { Target } from './target.ts';

export interface ConnectOptions {
  readonly target: Target;
  /** Another way to the target than a TCP connection of our own. */
  readonly dial?: (signal: AbortSignal) => Promise<Duplex>;
  readonly serverName: string | undefined;
  readonly alpn: readonly string[];
  readonly starttls: StartTlsProtocol | undefined;
  /** Ends the attempt; its reason is what the promise rejects with. */
  readonly signal: AbortSignal;
}

/** The server cannot be reached, or does not get as far as TLS. */
class ConnectError extends Error {
  override readonly name = 'ConnectError';
  readonly code = 'ProbeConnect';
}

type Offer = Pick<HandshakeOptions, 'delegatedCredentials' | 'firstGroup'>;

/** A handshake by our own client. Throws TlsError, ConnectError, or the signal's reason. */
export async function shakeHands(options: ConnectOptions, offer: Offer): Promise<HandshakeOutcome> {
  const { alpn, serverName, signal } = options;
  await using connection = await open(options);
  const { socket } = connection;
  const handshake = new ClientHandshake({ serverName, alpn, ...offer, randomBytes, generateKeyShare });
  socket.write(handshake.start());
  for await (const chunk of chunks(socket, signal)) {
    const { outcome, send } = handshake.receive(chunk);
    if (send.length > 0) socket.write(send);
    if (outcome !== undefined) return outcome;
  }
  return handshake.closed();
}

/** What a client of node:tls (OpenSSL), which knows no delegated credentials, is served. */
export interface OrdinaryOutcome {
  /** `TLSv1.2`, `TLSv1.3`. */
  readonly protocol: string;
  readonly cipherSuite: string;
  /** DER, the leaf only. */
  readonly certificate: Uint8Array | undefined;
}

/** Throws what node:tls says, ConnectError, or the signal's reason. Nothing is verified: the outcome is described. */
export async function shakeHandsOrdinarily(
  options: ConnectOptions,
  version: 'TLSv1.2' | 'TLSv1.3',
): Promise<OrdinaryOutcome> {
  const { alpn, serverName, signal } = options;
  await using connection = await open(options);
  const socket: TLSSocket = connectTls({
    socket: connection.socket,
    minVersion: version,
    maxVersion: version,
    rejectUnauthorized: false,
    ...(serverName === undefined ? {} : { servername: serverName }),
    ...(alpn.length === 0 ? {} : { ALPNProtocols: [...alpn] }),
  });
  try {
    await once(socket, 'secureConnect', { signal });
    return {
      protocol: socket.getProtocol() ?? version,
      cipherSuite: socket.getCipher().name,
      certificate: socket.getPeerX509Certificate()?.raw,
    };
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    socket.destroy();
  }
}

interface Connection extends AsyncDisposable {
  readonly socket: Duplex;
}

async function open(options: ConnectOptions): Promise<Connection> {
  const { dial, signal, starttls, target } = options;
  const socket = await (dial === undefined ? dialTcp(target, signal) : dial(signal));
  // What comes after the first error is of no interest; without a listener it would end the process.
  socket.on('error', () => {});
  try {
    if (starttls !== undefined) await negotiate(socket, new StartTls(starttls), signal);
  } catch (error) {
    socket.destroy();
    throw signal.aborted ? signal.reason : error;
  }
  return {
    socket,
    async [Symbol.asyncDispose]() {
      // What was written last (our Finished, close_notify) is still sent; nobody waits for the server.
      socket.end(() => socket.destroy());
      if (socket instanceof Socket) setImmediate(() => socket.unref());
    },
  };
}

async function dialTcp(target: Target, signal: AbortSignal): Promise<Socket> {
  const socket = connectTcp({ ...target, noDelay: true });
  socket.on('error', () => {});
  try {
    await once(socket, 'connect', { signal });
    return socket;
  } catch (error) {
    socket.destroy();
    if (signal.aborted) throw signal.reason;
    throw new ConnectError(`cannot connect: ${explainConnectionError(error)}`, { cause: error });
  }
}

async function negotiate(socket: Duplex, dialogue: StartTls, signal: AbortSignal): Promise<void> {
  for await (const chunk of chunks(socket, signal)) {
    const step = dialogue.receive(chunk);
    if (step.kind === 'ready') return;
    if (step.kind === 'refused') throw new ConnectError(step.message);
    if (step.kind === 'send') socket.write(step.text);
  }
  throw new ConnectError('the server closed the connection before TLS began');
}

/** What arrives, until the other side ends. Leaves the socket usable when the consumer stops. Throws the signal's reason. */
async function* chunks(socket: Duplex, signal: AbortSignal): AsyncGenerator<Buffer> {
  const stop = () => socket.destroy(signal.reason as Error);
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  try {
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) yield chunk as Buffer;
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if ((error as NodeJS.ErrnoException).code === 'ECONNRESET') return;
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
