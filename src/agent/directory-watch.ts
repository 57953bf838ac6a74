/**
 * Calls back when something in a directory may have changed: by the kernel's notice where it comes, and every so often in any
 * case, for file systems and sandboxes that send none. Says nothing about what has changed: look.
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
    this.#arm();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#drop();
  }

  /** A directory that is not there yet is tried again with every poll. */
  #open(): void {
    const { directory, onChange } = this.#options;
    try {
      this.#watcher = watch(directory, () => onChange());
      this.#watcher.once('error', () => this.#drop());
    } catch {
      this.#watcher = undefined;
    }
  }

  #drop(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #arm(): void {
    const { clock, onChange, pollMs } = this.#options;
    this.#timer = clock.setTimeout(() => {
      if (this.#closed) return;
      if (this.#watcher === undefined) this.#open();
      onChange();
      this.#arm();
    }, pollMs);
  }
}
