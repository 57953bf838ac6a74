/**
 * Watches mounted Secrets and reloads the server when a new, valid credential is mounted.
 *
 *   change -> read one mounted version -> check it -(all valid)-> still the current one? -> reload the server -> served
 *                     '--(not valid)-- report, do not reload --'              '--(failed)-- back off, retry --'
 *
 * Level-based: it compares what is mounted now with what the server last loaded, whatever events arrived. A server reads all of its
 * files at once, so it is not reloaded while any directory holds something invalid.
 */
import { createHash } from 'node:crypto';
import { describeReload, type ReloadSpec } from '../api/reload-spec.ts';
import type { Usage } from '../credential/scheme.ts';
import { Backoff } from '../kubernetes/backoff.ts';
import { delay } from '../kubernetes/clock.ts';
import type { Logger } from '../kubernetes/log.ts';
import { formatRfc3339 } from '../text/rfc3339.ts';
import { type BadPair, checkPair, type GoodPair } from './check-pair.ts';
import { DirectoryWatch } from './directory-watch.ts';
import type { AgentMetrics } from './metrics.ts';
import { MountedVersionError, mountedVersionName, readMountedVersion } from './mounted-version.ts';
import { startedAt } from './processes.ts';
import { find, type ReloadOptions, reload } from './reload.ts';

export interface AgentOptions extends ReloadOptions {
  readonly directories: readonly string[];
  /** How to reload the servers; none: they watch their files themselves, and the agent only reports. */
  readonly targets: readonly ReloadSpec[];
  /** Undefined: either, and in each directory from then on that of its first valid credential. */
  readonly usage: Usage | undefined;
  /** Reload also for what is mounted at the start. A server that starts after the agent loads that by itself. */
  readonly reloadAtStart: boolean;
  readonly pollMs: number;
  readonly random: () => number;
  readonly log: Logger;
  readonly metrics: AgentMetrics;
  /** Called after every pass, and so at least once a poll. */
  readonly onStatus?: (problem: string | undefined) => Promise<void>;
}

interface Mounted {
  readonly directory: string;
  mountedVersion: string | undefined;
  placedAtMs: number;
  isFirst: boolean;
  usage: Usage | undefined;
  check: GoodPair | BadPair;
}

interface Target {
  readonly spec: ReloadSpec;
  /** Fingerprint of everything mounted at its last successful reload. */
  loaded: string | undefined;
}

/** A kubelet updates the volumes of a pod one after another; one reload covers all of them. */
const DEBOUNCE_MS = 100;
const RETRY = { baseMs: 1_000, maxMs: 30_000 };
/** Process starts and file times are each known to a clock tick. One reload too many does no harm. */
const START_TOLERANCE_MS = 50;
const UNREAD: BadPair = { ok: false, code: 'NotRead', message: 'not read yet' };

export class Agent {
  /** Resolves when the agent is ready for the first time. */
  readonly firstReady: Promise<void>;
  readonly #options: AgentOptions;
  readonly #mounted: readonly Mounted[];
  readonly #targets: readonly Target[];
  readonly #backoff: Backoff;
  readonly #markReady: () => void;
  #attempted: string | undefined;
  /** Whether a pass has ended: what is mounted later, a server that was there at the start has not loaded by itself. */
  #looked = false;
  /** On the monotonic clock: the earliest retry of the same content. */
  #retryAt = 0;
  /** Expiry of what the servers last loaded, in seconds since the epoch. */
  #servedUntil: number | undefined;
  #dirty = false;
  #wake: () => void = () => {};

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#mounted = options.directories.map((directory) => ({
      directory,
      mountedVersion: undefined,
      placedAtMs: 0,
      isFirst: false,
      usage: options.usage,
      check: UNREAD,
    }));
    this.#targets = options.targets.map((spec) => ({ spec, loaded: undefined }));
    this.#backoff = new Backoff({ ...RETRY, random: options.random });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.firstReady = promise;
    this.#markReady = resolve;
  }

  /**
   * Why it is not ready; undefined when it is. It stays ready while a new pair is invalid or a server refuses it: what the server
   * has loaded still works, and removing its pod from service would not help. It stops being ready when that expires.
   */
  problem(): string | undefined {
    if (this.#servedUntil === undefined) {
      const bad = this.#mounted.find(({ check }) => !check.ok);
      if (bad === undefined || bad.check.ok) return 'the server has not been reloaded yet';
      return `${bad.directory}: ${bad.check.message}`;
    }
    if (this.#now() < this.#servedUntil) return undefined;
    return `the credential that the server loaded expired at ${formatRfc3339(this.#servedUntil)}`;
  }

  /** Runs until the signal. Never rejects because of a directory's content or a server's answer. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, directories, pollMs } = this.#options;
    const onChange = (): void => {
      this.#dirty = true;
      this.#wake();
    };
    const watches = directories.map((directory) => new DirectoryWatch({ directory, pollMs, clock, onChange }));
    try {
      while (!signal.aborted) {
        this.#dirty = false;
        const retryMs = await this.#step(signal);
        await this.#options.onStatus?.(this.problem());
        await this.#sleep(retryMs, signal);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      for (const watch of watches) watch.close();
    }
  }

  /** One pass over all directories and targets. @returns milliseconds until the next pass if nothing changes before */
  async #step(signal: AbortSignal): Promise<number> {
    for (const mounted of this.#mounted) await this.#refresh(mounted, signal);
    const content = this.#content();
    const atStart = !this.#looked;
    this.#looked = true;
    if (content === undefined) return Number.POSITIVE_INFINITY;
    if (this.#attempted === undefined) await this.#begin(content, atStart);
    const { clock } = this.#options;
    if (this.#attempted !== content) {
      this.#attempted = content;
      this.#backoff.reset();
      this.#retryAt = clock.monotonic();
    }
    // Woken by a change before the retry is due.
    const early = this.#retryAt - clock.monotonic();
    if (early > 0) return early;
    for (const target of this.#targets.filter(({ loaded }) => loaded !== content)) {
      // Swapped since the check: a reload now would load files that were not checked.
      if (!(await this.#isCurrent())) return 0;
      // Whatever comes of it, the server may have read the new files.
      target.loaded = undefined;
      const isReloaded = await this.#reload(target, signal);
      // Swapped during the reload: what the server has read is not known, so it is reloaded once the new files are checked.
      if (!(await this.#isCurrent())) return 0;
      if (isReloaded) target.loaded = content;
    }
    if (this.#targets.some(({ loaded }) => loaded !== content)) {
      const pause = this.#backoff.next();
      this.#retryAt = clock.monotonic() + pause;
      return pause;
    }
    this.#serve();
    return Number.POSITIVE_INFINITY;
  }

  async #refresh(mounted: Mounted, signal: AbortSignal): Promise<void> {
    const { check: before, directory, mountedVersion } = mounted;
    const current = await mountedVersionName(directory);
    if (before.ok && current === mountedVersion && this.#now() < before.expiresAt) return;
    const found = await this.#checkPair(mounted, signal);
    const { log, metrics } = this.#options;
    mounted.check = found;
    if (found.ok) {
      mounted.usage = found.usage;
      metrics.checked('verified');
      metrics.mounted(directory, found.expiresAt);
      const { certificateSha256, expiresAt, keyAlgorithm, usage } = found;
      const fields = { directory, certificateSha256, usage, keyAlgorithm, expiresAt: formatRfc3339(expiresAt) };
      log.info(fields, 'verified the mounted credential');
      return;
    }
    const { code, message } = found;
    if (!before.ok && before.code === code && before.message === message) return;
    metrics.checked(code in UNREADABLE ? 'unreadable' : 'refused');
    log.error({ directory, reason: code, detail: message }, 'mounted credential is not valid, not reloading');
  }

  async #checkPair(mounted: Mounted, signal: AbortSignal): Promise<GoodPair | BadPair> {
    const { directory } = mounted;
    try {
      const { files, isFirst, name, placedAtMs } = await readMountedVersion(directory, signal);
      mounted.mountedVersion = name;
      mounted.placedAtMs = placedAtMs;
      mounted.isFirst = isFirst;
      return checkPair(files, mounted.usage, this.#now());
    } catch (error) {
      if (!(error instanceof MountedVersionError)) throw error;
      return { ok: false, code: error.code, message: error.message };
    }
  }

  /** Fingerprint of all directories; undefined unless all are valid. */
  #content(): string | undefined {
    const hash = createHash('sha256');
    for (const { check } of this.#mounted) {
      if (!check.ok) return undefined;
      hash.update(check.fingerprint);
    }
    return hash.digest('hex');
  }

  /**
   * A server that starts later loads what is mounted at the start. But the agent may have been restarted between a change and its
   * reload: then there are processes older than the files, and those are reloaded. So is a server whose start is not known,
   * unless it can have loaded nothing else: no other version was mounted before, and this one was valid when the agent
   * started.
   */
  async #begin(content: string, atStart: boolean): Promise<void> {
    const { clock, reloadAtStart } = this.#options;
    if (reloadAtStart) return;
    const placedAtMs = Math.max(...this.#mounted.map((mounted) => mounted.placedAtMs));
    const isOnly = atStart && this.#mounted.every(({ isFirst }) => isFirst);
    for (const target of this.#targets) {
      const { spec } = target;
      if (spec.kind !== 'signal') {
        if (isOnly) target.loaded = content;
        continue;
      }
      const processes = await find(spec.process).catch(() => []);
      const starts = processes.map((one) => startedAt(one, clock));
      if (!starts.some((start) => start < placedAtMs + START_TOLERANCE_MS)) target.loaded = content;
    }
  }

  async #isCurrent(): Promise<boolean> {
    const names = await Promise.all(this.#mounted.map(({ directory }) => mountedVersionName(directory)));
    return this.#mounted.every(({ mountedVersion }, position) => mountedVersion === names[position]);
  }

  async #reload({ spec }: Target, signal: AbortSignal): Promise<boolean> {
    const { log, metrics } = this.#options;
    const target = describeReload(spec);
    try {
      await reload(spec, this.#options, signal);
    } catch (error) {
      signal.throwIfAborted();
      metrics.reloaded(target, 'failed', this.#now());
      const retry = this.#backoff.failures + 1;
      log.error({ target, retry, err: error }, 'failed to reload the server, retrying');
      return false;
    }
    metrics.reloaded(target, 'ok', this.#now());
    log.info({ target }, 'reloaded the server');
    return true;
  }

  #serve(): void {
    const expiries = this.#mounted.flatMap(({ check }) => (check.ok ? [check.expiresAt] : []));
    this.#servedUntil = Math.min(...expiries);
    this.#options.metrics.served(this.#servedUntil);
    this.#markReady();
  }

  async #sleep(retryMs: number, signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    if (!this.#dirty && !signal.aborted && retryMs > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const finish = (): void => resolve();
      const timer = clock.setTimeout(finish, retryMs);
      this.#wake = finish;
      signal.addEventListener('abort', finish, { once: true });
      await promise;
      signal.removeEventListener('abort', finish);
      timer.cancel();
    }
    if (this.#dirty) await delay(clock, DEBOUNCE_MS, signal);
  }

  #now(): number {
    return Math.floor(this.#options.clock.now() / 1000);
  }
}

/** Faults of the mount rather than of its content. */
const UNREADABLE = {
  NotFound: true,
  NotAMount: true,
  Incomplete: true,
  Unreadable: true,
  TooLarge: true,
  Unstable: true,
} as const satisfies Readonly<Record<MountedVersionError['code'], true>>;
