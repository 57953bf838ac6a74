import type { ApiClient } from './api-client.ts';
import type { Clock } from './clock.ts';
import type { Logger } from './log.ts';

/** What an event is about. */
export interface EventSubject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string | undefined;
  readonly name: string;
  readonly uid?: string | undefined;
}

export interface EventInput {
  readonly regarding: EventSubject;
  readonly related?: EventSubject;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly action: string;
  readonly note: string;
}

export interface EventRecorderOptions {
  readonly client: ApiClient;
  /** `reportingController`, as in `example.dev/operator`. */
  readonly controller: string;
  /** `reportingInstance`: the pod's or the host's name. */
  readonly instance: string;
  /** Where events about cluster-wide objects go. */
  readonly namespace: string;
  readonly clock: Clock;
  readonly log: Logger;
}

export class EventRecorder {
  constructor(_options: EventRecorderOptions) {}

  record(_input: EventInput): void {
    throw new Error('not yet');
  }

  flush(_signal: AbortSignal): Promise<void> {
    throw new Error('not yet');
  }
}
