/** A line that is drawn over, on a terminal only: elsewhere it writes nothing. */
import type { CommandIo } from './command.ts';

const CELLS = 30;

export class ProgressBar {
  readonly #stream: CommandIo['stderr'];
  readonly #label: string;
  #shown = '';

  constructor(stream: CommandIo['stderr'], label: string) {
    this.#stream = stream;
    this.#label = label;
  }

  show(done: number, total: number): void {
    if (this.#stream.isTTY !== true) return;
    const cells = total === 0 ? CELLS : Math.floor((done / total) * CELLS);
    const line = `${this.#label} ${'█'.repeat(cells)}${'░'.repeat(CELLS - cells)} ${done}/${total}`;
    // Ten thousand steps would be ten thousand writes: only what looks different is drawn.
    const step = Math.max(1, Math.floor(total / 200));
    if (line === this.#shown || (done % step !== 0 && done !== total)) return;
    this.#stream.write(`\r${line}\u001b[K`);
    this.#shown = line;
  }

  /** Removes the line; does nothing where there is none. */
  clear(): void {
    if (this.#shown === '') return;
    this.#stream.write('\r\u001b[K');
    this.#shown = '';
  }
}
