/** What `ensureBinaries` is doing. `waiting`: another process builds the same binaries. */
export type BuildProgress =
  | { readonly state: 'building' | 'built'; readonly name: string; readonly elapsedMs: number }
  | { readonly state: 'waiting'; readonly elapsedMs: number };

interface Terminal {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** A log gets a line this often, a terminal has its one line rewritten. */
const LOG_INTERVAL_MS = 30_000;

/**
 * Prints progress for people: on a terminal one line that counts up, in a log a line when a build begins, one every
 * half minute, and one at the end.
 */
export function progressReporter(out: Terminal): (progress: BuildProgress) => void {
  let next = 0;
  return (progress) => {
    const line = describe(progress);
    if (out.isTTY === true) {
      out.write(`\r\x1b[K${line}${progress.state === 'built' ? '\n' : ''}`);
      return;
    }
    if (progress.state === 'built' || progress.elapsedMs === 0) next = 0;
    if (progress.elapsedMs < next) return;
    next = progress.state === 'built' ? 0 : progress.elapsedMs + LOG_INTERVAL_MS;
    out.write(`${line}\n`);
  };
}

function describe(progress: BuildProgress): string {
  const elapsed = clock(progress.elapsedMs);
  if (progress.state === 'waiting') return `waiting for another process that builds the test cluster ... ${elapsed}`;
  if (progress.state === 'built') return `built ${progress.name} in ${elapsed}`;
  return `building ${progress.name} (the first time takes some minutes) ... ${elapsed}`;
}

/** Minutes and seconds: 192,000 ms is `3:12`. */
function clock(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
