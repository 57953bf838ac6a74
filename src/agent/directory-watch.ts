/**
 * Calls back when a directory may have changed: on inotify events, and by polling for file systems and sandboxes that send none.
 * Does not say what has changed.
 */
import { type FSWatcher, watch } from 'node:fs';
import type { Clock, TimerHandle } from '../kubernetes/clock.ts';

export interface DirectoryWatchOptions {
  readonly directory: string;
  readonly pollMs: number;
  readonly clock: Clock;
  readonly onChange: () => void;
}

export class DirectoryWatch {
  readonly #options: DirectoryWatchOptions;
  #watcher: FSWatcher | undefined;
  #timer: TimerHandle | undefined;
  #closed = false;

  constructor(options: DirectoryWatchOptions) {
    this.#options = options;
    this.#open();
    this.#schedule();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#unwatch();
  }

  /** A directory that does not exist yet is retried with every poll. */
  #open(): void {
    const { directory, onChange } = this.#options;
    try {
      this.#watcher = watch(directory, () => onChange());
      this.#watcher.once('error', () => this.#unwatch());
    } catch {
      this.#watcher = undefined;
    }
  }

  #unwatch(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #schedule(): void {
    const { clock, onChange, pollMs } = this.#options;
    this.#timer = clock.setTimeout(() => {
      if (this.#closed) return;
      if (this.#watcher === undefined) this.#open();
      onChange();
      this.#schedule();
    }, pollMs);
  }
}
