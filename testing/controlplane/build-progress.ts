/** What `ensureBinaries` is doing. `waiting`: another process builds or downloads the same binaries. */
export type BuildProgress =
  | { readonly state: 'building' | 'built'; readonly name: string; readonly elapsedMs: number }
  | { readonly state: 'downloading' | 'downloaded'; readonly bytes: number; readonly elapsedMs: number }
  | { readonly state: 'not downloaded'; readonly name: string; readonly reason: string }
  | { readonly state: 'waiting'; readonly elapsedMs: number };

interface Terminal {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** A log gets a line this often, a terminal has its one line rewritten. */
const LOG_INTERVAL_MS = 30_000;
const FINAL: ReadonlySet<BuildProgress['state']> = new Set(['built', 'downloaded', 'not downloaded']);

/**
 * Prints progress: on a terminal one line that counts up, in a log a line when work begins, one every half minute, and one at the end.
 */
export function progressReporter(out: Terminal): (progress: BuildProgress) => void {
  let next = 0;
  return (progress) => {
    const line = describe(progress);
    const isFinal = FINAL.has(progress.state);
    if (out.isTTY === true) {
      out.write(`\r\x1b[K${line}${isFinal ? '\n' : ''}`);
      return;
    }
    const elapsedMs = 'elapsedMs' in progress ? progress.elapsedMs : 0;
    if (isFinal || elapsedMs === 0) next = 0;
    if (elapsedMs < next) return;
    next = isFinal ? 0 : elapsedMs + LOG_INTERVAL_MS;
    out.write(`${line}\n`);
  };
}

function describe(progress: BuildProgress): string {
  if (progress.state === 'not downloaded') return `could not download ${progress.name} (${progress.reason}): building`;
  const elapsed = clock(progress.elapsedMs);
  switch (progress.state) {
    case 'waiting':
      return `waiting for another process that prepares the test cluster ... ${elapsed}`;
    case 'built':
      return `built ${progress.name} in ${elapsed}`;
    case 'building':
      return `building ${progress.name} (the first time takes some minutes) ... ${elapsed}`;
    case 'downloading':
      return `downloading the test cluster, ${megabytes(progress.bytes)} ... ${elapsed}`;
    case 'downloaded':
      return `downloaded the test cluster, ${megabytes(progress.bytes)}, in ${elapsed}`;
  }
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1_000_000)} MB`;
}

/** Minutes and seconds: 192,000 ms is `3:12`. */
function clock(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
