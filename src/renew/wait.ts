/** Waits until every credential of some resources is new, by watching the metadata of their Secrets. */

import { MANAGED_BY, MANAGED_BY_LABEL } from '../api/keys.ts';
import { type IssuedSecret, readIssuedSecret } from '../issued-secret/issued-secret.ts';
import { formatObjectKey } from '../issued-secret/names.ts';
import { Reflector } from '../kubernetes/cache/reflector.ts';
import { RefusalCount } from '../kubernetes/cache/refusal-count.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { Clock } from '../kubernetes/clock.ts';
import type { Logger } from '../kubernetes/log.ts';
import { SECRETS } from '../kubernetes/resource-type.ts';
import { type Counts, progressOf, RenewalCount, type RenewalProgress } from './progress.ts';
import type { RenewTarget } from './request.ts';

export interface WaitOptions {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly random: () => number;
  readonly targets: readonly RenewTarget[];
  /** Seconds since the epoch: what was issued from then on is new. */
  readonly moment: number;
  readonly timeoutMs: number;
  /** Called for every change. */
  readonly onProgress: (counts: Counts) => void;
}

const REFUSALS: ReadonlySet<string> = new Set(['Forbidden', 'Unauthorized']);

/** No permission to watch the Secrets, which is how the renewal is observed. */
export class WatchRefusedError extends Error {
  readonly code = 'WatchRefused';
  override readonly name = 'WatchRefusedError';
}

/** The end came before the Secrets were listed: whether any credential was re-issued is not known. */
class RenewalUnknownError extends Error {
  readonly code = 'RenewalUnknown';
  override readonly name = 'RenewalUnknownError';
}

interface Entry {
  readonly namespace: string;
  readonly name: string;
  readonly issued: IssuedSecret | undefined;
}

/**
 * The last state: nothing pending when all are re-issued, else what was pending at the timeout or when the signal was aborted. Throws
 * where there is no state yet: WatchRefusedError, RenewalUnknownError, the signal's reason.
 */
export async function waitForRenewal(options: WaitOptions, signal: AbortSignal): Promise<RenewalProgress> {
  const { client, clock, moment, onProgress, random, targets, timeoutMs } = options;
  const meant = new Set(targets.map(formatObjectKey));
  const ended = new AbortController();
  const until = AbortSignal.any([signal, ended.signal]);
  let refused: string | undefined;
  const timer = clock.setTimeout(() => ended.abort(), timeoutMs);

  const count = new RenewalCount(moment);
  const selected = (entry: Entry | undefined): IssuedSecret | undefined => {
    const issued = entry?.issued;
    if (issued === undefined) return undefined;
    return meant.has(formatObjectKey({ namespace: issued.namespace, name: issued.resourceName })) ? issued : undefined;
  };

  const reflectors = [...new Set(targets.map(({ namespace }) => namespace))].map((namespace) => {
    const refusals = new RefusalCount(REFUSALS);
    const reflector: Reflector<Entry> = new Reflector<Entry>({
      client,
      clock,
      random,
      log: SILENT,
      type: SECRETS,
      namespace,
      labelSelector: `${MANAGED_BY_LABEL}=${MANAGED_BY}`,
      metadataOnly: true,
      transform: (raw) => ({
        namespace,
        name: raw.metadata.name ?? '',
        issued: readIssuedSecret(raw),
      }),
      keyOf: formatObjectKey,
      onChange: ({ current, previous }) => {
        count.change(selected(previous), selected(current));
        look();
      },
      observe: (event) => {
        if (refusals.refusal(event, reflector) === undefined) return;
        refused = namespace;
        ended.abort();
      },
    });
    return reflector;
  });
  const present = (): RenewalProgress => {
    const entries = reflectors.flatMap(({ store }) => [...store.values()]);
    return progressOf(
      entries.flatMap((entry) => selected(entry) ?? []),
      moment,
    );
  };
  const look = (): void => {
    // Before all lists are complete, what is missing from them would count as re-issued.
    if (!reflectors.every(({ hasSynced }) => hasSynced)) return;
    const { counts } = count;
    onProgress(counts);
    if (counts.reissued === counts.total) ended.abort();
  };
  const running = reflectors.map((reflector) => reflector.run(until));
  // A list that is empty reports no change.
  void Promise.all(reflectors.map(({ synced }) => synced)).then(look);
  await Promise.all(running);
  timer.cancel();
  if (refused !== undefined) {
    throw new WatchRefusedError(
      `no permission to list Secrets in namespace "${refused}", which --wait needs: the renewal was requested nevertheless; ` +
        'see "kubectl get dcred -o wide"',
    );
  }
  // What was never listed is not nothing: no Secret pending would count as all re-issued.
  if (!reflectors.every(({ hasSynced }) => hasSynced)) {
    signal.throwIfAborted();
    throw new RenewalUnknownError(
      'the Secrets could not be listed in time, so whether their credentials are new is not known: the renewal was requested ' +
        'nevertheless; see "kubectl get dcred -o wide", or wait longer with --timeout',
    );
  }
  return present();
}

const SILENT: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => SILENT,
};
