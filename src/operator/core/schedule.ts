/** When a credential is re-issued. Pure; all times in seconds since the epoch. */
import { hash } from 'node:crypto';

/** Half the width of the window over which a fleet's renewals are spread, as a share of the credential's own life. */
const SPREAD = 0.1;
/** No renewal in the first or last twentieth of a life, whatever is configured: room to retry, and no renewal loop. */
const MARGIN = 0.05;

export interface Renewal {
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly podUid: string;
  /** The configured life; the credential's own is shorter where the certificate expires first. */
  readonly lifetimeSeconds: number;
  /** Omitted: half of the life. */
  readonly renewBeforeSeconds?: number | undefined;
}

/**
 * The configured point, moved by up to a tenth of the credential's own life in either direction by a hash of the pod's UID:
 * the same after every restart, different for every pod. Where the margins cut the window, pods are spread over the rest of
 * it, so that they never pile up at its edge.
 */
export function renewalTime(renewal: Renewal): number {
  const { issuedAt, expiresAt, lifetimeSeconds } = renewal;
  const life = Math.max(0, expiresAt - issuedAt);
  const configured = renewal.renewBeforeSeconds ?? lifetimeSeconds / 2;
  const before = life < lifetimeSeconds ? (configured * life) / lifetimeSeconds : configured;
  const point = Math.max(issuedAt, expiresAt - before);
  const from = Math.max(point - SPREAD * life, issuedAt + MARGIN * life);
  const to = Math.min(point + SPREAD * life, expiresAt - MARGIN * life);
  return Math.floor(from + (to - from) * fraction(renewal.podUid));
}

/** Uniform in [0, 1). */
function fraction(uid: string): number {
  return hash('sha256', uid, 'buffer').readUInt32BE(0) / 2 ** 32;
}

/** The longest delay between retries: a twentieth of the life, so that some twenty attempts fit, and five minutes at most. */
export function maxRetryDelayMs(lifetimeSeconds: number): number {
  return Math.min(300_000, (lifetimeSeconds * 1000) / 20);
}
