/** Probes one server: what a client with delegated credentials is served, what one without, and what TLS 1.2 gets. */
import { createHash } from 'node:crypto';
import { explainOpenSsl } from '../text/openssl-error.ts';
import { printable } from '../text/printable.ts';
import { explainConnectionError } from '../text/system-error.ts';
import { type Assessment, assess } from './assess.ts';
import { type ConnectOptions, shakeHands, shakeHandsOrdinarily } from './connect.ts';
import type { HandshakeOutcome } from './handshake.ts';
import type { TrustedRoots } from './roots.ts';

/** A server may write what it likes into what it refuses with. */
const MAX_MESSAGE_LENGTH = 300;

export interface ProbeOptions extends Omit<ConnectOptions, 'signal'> {
  /** Stops the probe. */
  readonly stop: AbortSignal;
  /** The limit of all connections together: what is under way then has timed out, and is reported so. */
  readonly deadline: AbortSignal;
  /** The DNS name or IP address that the certificate must be for. */
  readonly name: string;
  readonly roots: TrustedRoots;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export interface Ordinary {
  readonly protocol: string;
  readonly cipherSuite: string;
  readonly certificateSha256: string | undefined;
}

/** An outcome, or why there is none. */
export type Attempt<T> =
  | ({ readonly ok: true } & T)
  | { readonly ok: false; readonly code: string; readonly message: string };

export interface ProbeReport {
  /** A client that offers delegated credentials, over TLS 1.3. */
  readonly supporting: Attempt<{ readonly handshake: HandshakeOutcome; readonly assessment: Assessment }>;
  /** A client that does not, over TLS 1.3. */
  readonly ordinary: Attempt<Ordinary>;
  /** A client of TLS 1.2, which has no delegated credentials. */
  readonly tls12: Attempt<Ordinary>;
}

/** Never throws for what a server does or leaves undone; only the reason of `stop`, once it is aborted. */
export async function probe(options: ProbeOptions): Promise<ProbeReport> {
  const connecting: ConnectOptions = { ...options, signal: AbortSignal.any([options.stop, options.deadline]) };
  const supporting = await attempt(options, async () => {
    const handshake = await shakeHands(connecting, { delegatedCredentials: true, firstGroup: 'x25519' });
    const { name, now, roots } = options;
    return { handshake, assessment: assess(handshake, { name, roots, now: Math.floor(now() / 1000) }) };
  });
  const [ordinary, tls12] = await Promise.all([
    attempt(options, () => ordinaryOutcome(connecting, 'TLSv1.3')),
    attempt(options, () => ordinaryOutcome(connecting, 'TLSv1.2')),
  ]);
  return { supporting, ordinary, tls12 };
}

async function ordinaryOutcome(options: ConnectOptions, version: 'TLSv1.2' | 'TLSv1.3'): Promise<Ordinary> {
  const { certificate, cipherSuite, protocol } = await shakeHandsOrdinarily(options, version);
  const certificateSha256 =
    certificate === undefined ? undefined : createHash('sha256').update(certificate).digest('hex');
  return { protocol, cipherSuite, certificateSha256 };
}

async function attempt<T extends object>(
  { deadline, stop }: Pick<ProbeOptions, 'deadline' | 'stop'>,
  work: () => Promise<T>,
): Promise<Attempt<T>> {
  try {
    return { ok: true, ...(await work()) };
  } catch (error) {
    if (stop.aborted) throw stop.reason;
    if (deadline.aborted) return { ok: false, code: 'Timeout', message: 'no answer within the time limit' };
    if (!(error instanceof Error)) throw error;
    return { ok: false, code: codeOf(error), message: printable(messageOf(error), MAX_MESSAGE_LENGTH) };
  }
}

function messageOf(error: Error): string {
  return explainOpenSsl(explainConnectionError(error));
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}
