/** The progress of a renewal, and its texts. Pure. */
import type { IssuedSecret } from '../issued-secret/issued-secret.ts';

export interface Counts {
  readonly total: number;
  readonly reissued: number;
}

export interface RenewalProgress extends Counts {
  /** Those that were not re-issued yet. */
  readonly pending: readonly IssuedSecret[];
}

/**
 * Keeps count of a renewal while Secrets change: a change costs O(1), whatever the number of Secrets.
 */
export class RenewalCount {
  readonly #moment: number;
  #total = 0;
  #reissued = 0;

  /** @param moment seconds since the epoch: what was issued from then on is new */
  constructor(moment: number) {
    this.#moment = moment;
  }

  get counts(): Counts {
    return { total: this.#total, reissued: this.#reissued };
  }

  /** A Secret as it was and as it is; undefined where there is none. */
  change(previous: IssuedSecret | undefined, current: IssuedSecret | undefined): void {
    this.#add(previous, -1);
    this.#add(current, 1);
  }

  #add(secret: IssuedSecret | undefined, count: 1 | -1): void {
    if (secret === undefined) return;
    this.#total += count;
    if (isReissued(secret, this.#moment)) this.#reissued += count;
  }
}

function isReissued({ facts }: IssuedSecret, moment: number): boolean {
  return facts !== undefined && facts.issuedAt >= moment;
}

/** @param moment seconds since the epoch: what was issued from then on is new */
export function progressOf(secrets: readonly IssuedSecret[], moment: number): RenewalProgress {
  const pending = secrets.filter((secret) => !isReissued(secret, moment));
  return { total: secrets.length, reissued: secrets.length - pending.length, pending };
}

const BAR_WIDTH = 30;

/** `[###############---------------]  10/20  7.7/s` */
export function progressBar({ reissued, total }: Counts, seconds: number): string {
  const filled = total === 0 ? BAR_WIDTH : Math.floor((BAR_WIDTH * reissued) / total);
  const bar = '#'.repeat(filled) + '-'.repeat(BAR_WIDTH - filled);
  return `[${bar}]  ${reissued}/${total}  ${rate(reissued, seconds)}`;
}

export function progressLine({ reissued, total }: Counts): string {
  return `${reissued} of ${total} credentials re-issued`;
}

/** The figure at the end. */
export function summary({ reissued, total }: Counts, seconds: number): string {
  if (total === 0) return 'no pod holds a credential: there is nothing to re-issue';
  return `re-issued ${reissued} of ${total} credentials in ${seconds.toFixed(1)} s (${rate(reissued, seconds)})`;
}

/** In its place where there is nothing to wait for: whether pods hold credentials was not looked up. */
export function nothingAwaited({ suspended, failed }: { readonly suspended: number; readonly failed: number }): string {
  const reasons = [
    ...(suspended > 0 ? [`${suspended} suspended`] : []),
    ...(failed > 0 ? [`${failed} could not be requested`] : []),
  ];
  return `nothing is waited for: ${reasons.join(', ')}`;
}

/** A wave has a pace: what is under way has no fault. */
export function notInTime({ reissued }: Counts): string {
  return reissued === 0
    ? 'not re-issued in time: check that the operator runs and that the certificate is valid (kubectl get dcred)'
    : 'not all are re-issued yet: the operator goes on, at its pace (--max-reissues-per-second); wait longer with --timeout. These hold their old key:';
}

const PODS_NAMED = 20;

/** One line a pod that still holds its old credential; the first few of many. */
export function describePending({ pending }: RenewalProgress): readonly string[] {
  const lines = pending
    .slice(0, PODS_NAMED)
    .map(({ name, namespace, podName }) => `  pod ${namespace}/${podName} (Secret ${name})`)
    .sort();
  return pending.length > PODS_NAMED ? [...lines, `  and ${pending.length - PODS_NAMED} more`] : lines;
}

function rate(count: number, seconds: number): string {
  return `${seconds > 0 ? (count / seconds).toFixed(1) : '0.0'}/s`;
}
