import { createHash, randomUUID } from 'node:crypto';
import { chmod, mkdir, rename, rm, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { download } from '../support/download.ts';
import { extractFile } from '../support/untar.ts';
import { type BuildProgress, progressReporter } from './build-progress.ts';
import { cacheRoot, isExecutable, removeUnused } from './go-module.ts';
import { withLock } from './lock.ts';
import { type Download, downloadsFor, platformOf, type Releases, readReleases } from './releases.ts';

export interface DownloadedOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly onProgress?: (progress: BuildProgress) => void;
  /** Default: those of `releases.json`. */
  readonly releases?: Releases;
  /** Trusted besides Node's own CAs, PEM. */
  readonly ca?: string;
  /** Until a server answers: a machine without a network loses this much time, and then builds. Default: 3 s. */
  readonly answerTimeoutMs?: number;
  /** Default: five minutes; building takes longer. */
  readonly totalTimeoutMs?: number;
  readonly maxBytes?: number;
}

/** The largest, kube-apiserver, is 120 MB. */
const MAX_BYTES = 400 * 1024 * 1024;

/**
 * The paths of those binaries that were downloaded, earlier or now. What is not available is left out, and `onProgress` gets the reason.
 * Bytes count only if they have the SHA-256 that `releases.json` pins. `DCRED_DOWNLOADS=off` downloads nothing.
 */
export async function downloadedBinaries(
  names: readonly string[],
  options: DownloadedOptions = {},
): Promise<ReadonlyMap<string, string>> {
  const env = options.env ?? process.env;
  if (names.length === 0 || env['DCRED_DOWNLOADS'] === 'off') return new Map();
  const releases = options.releases ?? (await readReleases());
  const cache = join(cacheRoot(env), `downloads-${hashOf(releases)}`);
  const wanted = await missing(cache, names);
  const downloads = downloadsFor(releases, wanted, platformOf(process.platform, process.arch));
  if (downloads.length > 0) {
    const onProgress = options.onProgress ?? progressReporter(process.stderr);
    await mkdir(cache, { recursive: true });
    await withLock(join(cache, 'lock'), { onWait: (elapsedMs) => onProgress({ state: 'waiting', elapsedMs }) }, () =>
      fetchAll(downloads, cache, { ...options, env, onProgress }),
    );
    await removeUnused(cacheRoot(env), 'downloads');
  }
  const absent = new Set(await missing(cache, names));
  const now = new Date();
  if (absent.size < names.length) await utimes(cache, now, now);
  return new Map(names.filter((name) => !absent.has(name)).map((name) => [name, join(cache, name)]));
}

async function fetchAll(
  downloads: readonly Download[],
  cache: string,
  options: DownloadedOptions & { readonly env: NodeJS.ProcessEnv; readonly onProgress: (one: BuildProgress) => void },
): Promise<void> {
  const { onProgress } = options;
  const began = Date.now();
  const received = new Map<Download, number>();
  const bytes = () => [...received.values()].reduce((sum, one) => sum + one, 0);
  const report = () => onProgress({ state: 'downloading', bytes: bytes(), elapsedMs: Date.now() - began });
  const timer = setInterval(report, 1_000);
  report();
  try {
    const outcomes = await Promise.allSettled(
      downloads.map((one) => fetchOne(one, cache, options, (count) => received.set(one, count))),
    );
    for (const [index, outcome] of outcomes.entries()) {
      if (outcome.status === 'fulfilled') continue;
      const names = downloads[index]?.binaries.map(({ name }) => name).join(', ') ?? '';
      const reason = outcome.reason instanceof Error ? outcome.reason.message : String(outcome.reason);
      onProgress({ state: 'not downloaded', name: names, reason });
    }
    if (outcomes.some(({ status }) => status === 'fulfilled')) {
      onProgress({ state: 'downloaded', bytes: bytes(), elapsedMs: Date.now() - began });
    }
  } finally {
    clearInterval(timer);
  }
}

async function fetchOne(
  { binaries, sha256, url }: Download,
  cache: string,
  options: DownloadedOptions & { readonly env: NodeJS.ProcessEnv },
  onBytes: (bytes: number) => void,
): Promise<void> {
  // Another process may have downloaded it while this one waited for the lock.
  const wanted = await missing(
    cache,
    binaries.map(({ name }) => name),
  );
  if (wanted.length === 0) return;
  const { answerTimeoutMs = 3_000, ca, env, maxBytes = MAX_BYTES, totalTimeoutMs = 300_000 } = options;
  const unfinished = join(cache, `${randomUUID()}.unfinished`);
  const limits = { answerTimeoutMs, maxBytes, totalTimeoutMs, ...(ca === undefined ? {} : { ca }) };
  try {
    await download(url, unfinished, { sha256, env, onBytes, ...limits });
    for (const { member, name } of binaries) {
      const whole = member === undefined ? unfinished : `${unfinished}.${name}`;
      if (member !== undefined) await extractFile(unfinished, member, whole, maxBytes);
      await chmod(whole, 0o755);
      // Renamed when whole: a name without "unfinished" is always a whole binary.
      await rename(whole, join(cache, name));
    }
  } finally {
    await rm(unfinished, { force: true });
  }
}

async function missing(cache: string, names: readonly string[]): Promise<readonly string[]> {
  const present = await Promise.all(names.map((name) => isExecutable(join(cache, name))));
  return names.filter((_, index) => present[index] !== true);
}

function hashOf(releases: Releases): string {
  return createHash('sha256').update(JSON.stringify(releases)).digest('hex').slice(0, 16);
}
