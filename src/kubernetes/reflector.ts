import type { ApiClient } from './api-client.ts';
import type { Clock } from './clock.ts';
import type { Logger } from './log.ts';
import type { KubernetesObject } from './objects.ts';
import type { ResourceType } from './resource-type.ts';
import { type Indexers, Store } from './store.ts';

export interface Change<T> {
  /** Absent: it is new. */
  readonly previous?: T;
  /** Absent: it is gone. */
  readonly current?: T;
}

export interface ReflectorEvent {
  readonly kind: 'list' | 'watch' | 'relist' | 'failure' | 'handler-error';
  readonly reason?: string;
}

export interface ReflectorOptions<T> {
  readonly client: ApiClient;
  readonly type: ResourceType;
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly metadataOnly?: boolean;
  /** Keeps only what is needed: what it returns is what the store holds. */
  readonly transform: (raw: KubernetesObject) => T;
  readonly keyOf: (object: T) => string;
  readonly indexes?: Indexers<T>;
  readonly onChange: (change: Change<T>) => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly observe?: (event: ReflectorEvent) => void;
}

export class Reflector<T> {
  readonly store: Store<T>;
  readonly synced: Promise<void> = Promise.resolve();

  constructor(options: ReflectorOptions<T>) {
    this.store = new Store(options.keyOf, options.indexes);
  }

  get hasSynced(): boolean {
    throw new Error('not yet');
  }

  get resourceVersion(): string {
    throw new Error('not yet');
  }

  isAtLeast(_resourceVersion: string): boolean {
    throw new Error('not yet');
  }

  run(_signal: AbortSignal): Promise<void> {
    throw new Error('not yet');
  }
}
