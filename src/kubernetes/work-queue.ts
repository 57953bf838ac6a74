import type { Clock } from './clock.ts';

export type Lane = 'urgent' | 'background';

export interface WorkQueueEvent {
  readonly kind: 'add' | 'take' | 'done' | 'retry';
  readonly lane: Lane;
  /** `take`: how long the key waited; `done`: how long it was worked on. */
  readonly seconds?: number;
}

export interface WorkQueueOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly baseDelayMs?: number;
  readonly maxDelayMs?: number;
  readonly observe?: (event: WorkQueueEvent) => void;
}

export class WorkQueue {
  constructor(_options: WorkQueueOptions) {}

  /** Ready to be taken. */
  get length(): number {
    throw new Error('not yet');
  }

  /** Waiting for their time. */
  get delayed(): number {
    throw new Error('not yet');
  }

  get processing(): number {
    throw new Error('not yet');
  }

  add(_key: string, _lane: Lane = 'urgent'): void {
    throw new Error('not yet');
  }

  addAt(_key: string, _timeMs: number, _lane: Lane = 'urgent'): void {
    throw new Error('not yet');
  }

  addAfter(_key: string, _ms: number, _lane: Lane = 'urgent'): void {
    throw new Error('not yet');
  }

  retry(_key: string, _options: { readonly maxDelayMs?: number; readonly lane?: Lane } = {}): number {
    throw new Error('not yet');
  }

  failures(_key: string): number {
    throw new Error('not yet');
  }

  forget(_key: string): void {
    throw new Error('not yet');
  }

  take(_signal: AbortSignal): Promise<string | undefined> {
    throw new Error('not yet');
  }

  done(_key: string): void {
    throw new Error('not yet');
  }

  shutDown(): void {
    throw new Error('not yet');
  }
}
