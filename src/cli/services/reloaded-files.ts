/**
 * Files of a long-running command that are replaced while it runs, as kubelet replaces those of a mounted Secret or ConfigMap. Read
 * again every few seconds. One that cannot be read or used, because it is broken or half of it is of another generation, changes nothing:
 * the last good one stays in use, which is said once.
 */
import { createHash } from 'node:crypto';
import { type Clock, delay } from '../../kubernetes/clock.ts';
import type { Logger } from '../../kubernetes/log.ts';

export interface ReloadedFile {
  /** For logs and metrics. */
  readonly name: string;
  /** Its text; of files that belong together, of all of them. */
  readonly read: (signal: AbortSignal) => Promise<readonly string[]>;
  /** From now on. Throws for what cannot be used, and then changes nothing. */
  readonly use: (...texts: string[]) => void;
  /** What is in use when the command starts. */
  readonly initial: readonly string[];
}

export interface FileReloadOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether what was read last is in use. */
  readonly observe: (name: string, current: boolean) => void;
}

const RELOAD_MS = 10_000;

/** Runs until the signal. */
export async function reloadFiles(
  files: readonly ReloadedFile[],
  options: FileReloadOptions,
  signal: AbortSignal,
): Promise<void> {
  await Promise.all(files.map((file) => reload(file, options, signal)));
}

async function reload(
  file: ReloadedFile,
  { clock, log, observe }: FileReloadOptions,
  signal: AbortSignal,
): Promise<void> {
  const { initial, name, read, use } = file;
  let used = digest(initial);
  let problem: string | undefined;
  observe(name, true);
  for (;;) {
    await delay(clock, RELOAD_MS, signal);
    if (signal.aborted) return;
    try {
      const texts = await read(signal);
      if (digest(texts) !== used) {
        use(...texts);
        used = digest(texts);
        log.info({ file: name }, 'file reloaded');
      }
      problem = undefined;
      observe(name, true);
    } catch (error) {
      if (signal.aborted) return;
      observe(name, false);
      const message = error instanceof Error ? error.message : String(error);
      if (message === problem) continue;
      problem = message;
      log.warn({ file: name, err: error }, 'a changed file cannot be used: the last good one stays in use');
    }
  }
}

/** They may be keys: their digest is kept in their place. */
function digest(texts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(texts)).digest('hex');
}
