/** How long a life a client may ask for. */
import { MIN_LIFETIME_SECONDS } from '../credential/lifetime.ts';
import type { Clock } from '../kubernetes/clock.ts';
import type { SignerClient } from './signer-client.ts';

/** Of what an answer's Date says of the signer's clock, and of a life counted in whole seconds. */
const CLOCK_RESOLUTION_SECONDS = 2;

/**
 * In seconds from the client's present: the signer counts by its own clock, which may be behind, and by the time at which the request
 * reaches it.
 * @param granted the longest life that the signer allows
 */
export function requestableSeconds(
  granted: number,
  client: Pick<SignerClient, 'now'>,
  clock: Pick<Clock, 'now'>,
): number {
  const aheadSeconds = Math.max(0, Math.ceil((clock.now() - client.now()) / 1000));
  return Math.max(MIN_LIFETIME_SECONDS, granted - aheadSeconds - CLOCK_RESOLUTION_SECONDS);
}
