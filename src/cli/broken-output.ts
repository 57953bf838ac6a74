/** What a command does when nobody reads what it prints, as with `| head -1`, or when the disk is full. */
import { explainFileError } from '../text/system-error.ts';

interface Output {
  on(event: 'error', listener: (error: Error) => void): unknown;
}

/**
 * A reader that left has what it wanted: the command goes on to its own exit status, which `set -o pipefail` then sees. Anything else
 * is a failure that `report` prints.
 */
export function onBrokenOutput(streams: readonly Output[], report: (message: string) => void): void {
  for (const stream of streams) {
    stream.on('error', (error) => {
      if (!('code' in error) || error.code !== 'EPIPE') report(`dcred: ${explainFileError('the output', error)}\n`);
    });
  }
}
