/** One handshake with one pod, as a client that supports delegated credentials: what `judge` compares. */
import type { Duplex } from 'node:stream';
import type { Clock } from '../kubernetes/clock.ts';
import { Deadline } from '../kubernetes/deadline.ts';
import type { PodPort } from '../kubernetes/port-forward/port-forwarder.ts';
import { assess } from '../probe/assess.ts';
import { shakeHands } from '../probe/connect.ts';
import { explainOpenSsl } from '../text/openssl-error.ts';
import { printable } from '../text/printable.ts';
import type { AuditSubject } from './subject.ts';
import type { Probed, Served } from './verdict.ts';

export interface ProbePodOptions {
  /** The way to a pod's port; undefined: straight to the pod's address. */
  readonly dial: ((target: PodPort, signal: AbortSignal) => Promise<Duplex>) | undefined;
  /** For the connection and the handshake together. */
  readonly timeoutMs: number;
  readonly clock: Clock;
}

/** A server may write what it likes into its alerts and certificates. */
const MAX_MESSAGE_LENGTH = 300;

/** Never throws for what a server does or leaves undone; only the signal's reason. */
export async function probePod(subject: AuditSubject, options: ProbePodOptions, signal: AbortSignal): Promise<Probed> {
  const { clock, dial, timeoutMs } = options;
  const { endpoint, pod, serverName } = subject;
  if (!endpoint.known || pod.ip === undefined)
    throw new TypeError('planned to probe a pod without a port or an address');
  const { port, starttls } = endpoint;
  using deadline = new Deadline(signal, clock, timeoutMs);
  try {
    const outcome = await shakeHands(
      {
        target: { host: pod.ip, port },
        ...(dial === undefined
          ? {}
          : { dial: (limit) => dial({ namespace: pod.namespace, pod: pod.name, port }, limit) }),
        serverName,
        alpn: [],
        starttls,
        signal: deadline.signal,
      },
      { delegatedCredentials: true, firstGroup: 'x25519' },
    );
    const now = Math.floor(clock.now() / 1000);
    return { reached: true, served: servedOf(assess(outcome, { roots: undefined, name: undefined, now })) };
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (deadline.expired) {
      return { reached: false, code: 'Timeout', message: `no answer from port ${port} within ${timeoutMs / 1000} s` };
    }
    if (!(error instanceof Error)) throw error;
    const code = 'code' in error && typeof error.code === 'string' ? error.code : error.name;
    return { reached: false, code, message: printable(explainOpenSsl(error.message), MAX_MESSAGE_LENGTH) };
  }
}

function servedOf({ certificate, checks, credential }: ReturnType<typeof assess>): Served {
  return {
    certificateSha256: certificate.sha256,
    certificateNotAfter: certificate.notAfter,
    credential: credential && { sha256: credential.sha256, expiresAt: credential.expiresAt },
    problems: checks.filter(({ ok }) => !ok).map(({ message, name }) => printable(message || name, MAX_MESSAGE_LENGTH)),
  };
}
