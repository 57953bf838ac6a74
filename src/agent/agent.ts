/**
 * Follows mounted Secrets, and tells a server when there is something new that is good.
 *
 *   changed? -> read one mountedVersion -> checkPair it -(all good)-> still the present one? -> tell the server -> served
 *      ^               '--(bad)-- report, keep quiet --'              '--(failed)-- back-off, again --'
 *
 * Level-based: what counts is what is mounted now and what the server was last told of, not which notices came. A server reads
 * all of its files at once, so it is told of nothing while any of the directories holds something bad.
 */
import { createHash } from 'node:crypto';
import { formatReload, type ReloadSpec } from '../api/reload-spec.ts';
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
  /** How servers are told; none: they watch their files themselves, and the agent only reports. */
  readonly targets: readonly ReloadSpec[];
  readonly usage: Usage;
  /** Tell them of what is there at the start. A server that starts after the agent loads that by itself. */
  readonly reloadAtStart: boolean;
  readonly pollMs: number;
  readonly random: () => number;
  readonly log: Logger;
  readonly metrics: AgentMetrics;
}

interface Mounted {
  readonly directory: string;
  mountedVersion: string | undefined;
  placedAtMs: number;
  verdict: GoodPair | BadPair;
}

interface Target {
  readonly spec: ReloadSpec;
  /** Of everything mounted, when it was last told. */
  told: string | undefined;
}

/** A kubelet updates the volumes of a pod one after another: one reload for all of them. */
const GATHER_MS = 100;
const RETRY = { baseMs: 1_000, maxMs: 30_000 };
/** Starts are known to a tick, and the times of files to another. One signal too many does no harm. */
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
  /** By the monotonic clock: not before then is anybody told of the same again. */
  #retryAt = 0;
  /** When what the servers were last told of expires, in seconds since the epoch. */
  #servedUntil: number | undefined;
  #dirty = false;
  #wake: () => void = () => {};

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#mounted = options.directories.map((directory) => ({
      directory,
      mountedVersion: undefined,
      placedAtMs: 0,
      verdict: UNREAD,
    }));
    this.#targets = options.targets.map((spec) => ({ spec, told: undefined }));
    this.#backoff = new Backoff({ ...RETRY, random: options.random });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.firstReady = promise;
    this.#markReady = resolve;
  }

  /**
   * Why it is not ready; undefined when it is. It stays ready while a new pair is bad or a server refuses it: what the server has
   * is as good as before, and taking its pod out of service would help nobody. That ends when that expires.
   */
  problem(): string | undefined {
    if (this.#servedUntil === undefined) {
      const bad = this.#mounted.find(({ verdict }) => !verdict.ok);
      if (bad === undefined || bad.verdict.ok) return 'the server has not been told yet';
      return `${bad.directory}: ${bad.verdict.message}`;
    }
    if (this.#now() < this.#servedUntil) return undefined;
    return `the credential that the server was last told of expired at ${formatRfc3339(this.#servedUntil)}`;
  }

  /** Runs until the signal. Rejects for nothing that is in a mounted directory or said by a server. */
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
        await this.#sleep(retryMs, signal);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      for (const watch of watches) watch.close();
    }
  }

  /** One look at everything. Returns after how many milliseconds to look again although nothing has changed. */
  async #step(signal: AbortSignal): Promise<number> {
    for (const mounted of this.#mounted) await this.#look(mounted, signal);
    const content = this.#content();
    if (content === undefined) return Number.POSITIVE_INFINITY;
    if (this.#attempted === undefined) await this.#begin(content);
    const { clock } = this.#options;
    if (this.#attempted !== content) {
      this.#attempted = content;
      this.#backoff.reset();
      this.#retryAt = clock.monotonic();
    }
    // Woken by something else than its time.
    const early = this.#retryAt - clock.monotonic();
    if (early > 0) return early;
    for (const target of this.#targets.filter(({ told }) => told !== content)) {
      // Told of what is verified, the server would read what is not.
      if (!(await this.#isPresent())) return 0;
      if (await this.#tell(target, signal)) target.told = content;
    }
    if (this.#targets.some(({ told }) => told !== content)) {
      const pause = this.#backoff.next();
      this.#retryAt = clock.monotonic() + pause;
      return pause;
    }
    this.#serve();
    return Number.POSITIVE_INFINITY;
  }

  async #look(mounted: Mounted, signal: AbortSignal): Promise<void> {
    const { directory, mountedVersion, verdict } = mounted;
    const present = await mountedVersionName(directory);
    if (verdict.ok && present === mountedVersion && this.#now() < verdict.expiresAt) return;
    const found = await this.#checkPair(mounted, signal);
    const { log, metrics } = this.#options;
    mounted.verdict = found;
    if (found.ok) {
      metrics.checked('verified');
      metrics.mounted(directory, found.expiresAt);
      const { certificateSha256, expiresAt, keyAlgorithm } = found;
      const fields = { directory, certificateSha256, keyAlgorithm, expiresAt: formatRfc3339(expiresAt) };
      log.info(fields, 'a credential is there and verified');
      return;
    }
    const { code, message } = found;
    if (!verdict.ok && verdict.code === code && verdict.message === message) return;
    metrics.checked(code in UNREADABLE ? 'unreadable' : 'refused');
    log.error(
      { directory, reason: code, detail: message },
      'what is mounted cannot be used: the server is told nothing',
    );
  }

  async #checkPair(mounted: Mounted, signal: AbortSignal): Promise<GoodPair | BadPair> {
    const { directory } = mounted;
    try {
      const { files, name, placedAtMs } = await readMountedVersion(directory, signal);
      mounted.mountedVersion = name;
      mounted.placedAtMs = placedAtMs;
      return checkPair(files, this.#options.usage, this.#now());
    } catch (error) {
      if (!(error instanceof MountedVersionError)) throw error;
      return { ok: false, code: error.code, message: error.message };
    }
  }

  /** Of all that is mounted, by content; undefined unless all of it is good. */
  #content(): string | undefined {
    const hash = createHash('sha256');
    for (const { verdict } of this.#mounted) {
      if (!verdict.ok) return undefined;
      hash.update(verdict.fingerprint);
    }
    return hash.digest('hex');
  }

  /**
   * What is there at the start is loaded by a server that starts later. But the agent itself may have been restarted between a
   * change and its notice: then there are processes that are older than the files.
   */
  async #begin(content: string): Promise<void> {
    const { clock, reloadAtStart } = this.#options;
    const placedAtMs = Math.max(...this.#mounted.map((mounted) => mounted.placedAtMs));
    for (const target of this.#targets) {
      const { spec } = target;
      if (reloadAtStart) continue;
      const processes = spec.kind === 'signal' ? await find(spec.process).catch(() => []) : [];
      const starts = await Promise.all(processes.map((one) => startedAt(one, clock.now())));
      if (!starts.some((start) => start < placedAtMs + START_TOLERANCE_MS)) target.told = content;
    }
  }

  async #isPresent(): Promise<boolean> {
    const names = await Promise.all(this.#mounted.map(({ directory }) => mountedVersionName(directory)));
    return this.#mounted.every(({ mountedVersion }, position) => mountedVersion === names[position]);
  }

  async #tell({ spec }: Target, signal: AbortSignal): Promise<boolean> {
    const { log, metrics } = this.#options;
    const target = formatReload(spec);
    try {
      await reload(spec, this.#options, signal);
    } catch (error) {
      signal.throwIfAborted();
      metrics.reloaded(target, 'failed', this.#now());
      const retry = this.#backoff.failures + 1;
      log.error({ target, retry, error }, 'the server did not take the new credential: it is told again');
      return false;
    }
    metrics.reloaded(target, 'ok', this.#now());
    log.info({ target }, 'the server was told of the new credential');
    return true;
  }

  #serve(): void {
    const expiries = this.#mounted.flatMap(({ verdict }) => (verdict.ok ? [verdict.expiresAt] : []));
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
    if (this.#dirty) await delay(clock, GATHER_MS, signal);
  }

  #now(): number {
    return Math.floor(this.#options.clock.now() / 1000);
  }
}

/** What is wrong with the mount, and not with what it holds. */
const UNREADABLE = {
  NotThere: true,
  NotAMount: true,
  Incomplete: true,
  Unreadable: true,
  TooLarge: true,
  Restless: true,
} as const satisfies Readonly<Record<MountedVersionError['code'], true>>;
