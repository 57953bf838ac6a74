import type { Clock } from './clock.ts';
import type { Connection } from './connection.ts';
import type { KubernetesObject, ObjectList, ObjectMeta, WatchEvent } from './objects.ts';
import type { ResourceType } from './resource-type.ts';

export interface ApiCall {
  readonly verb: 'get' | 'list' | 'watch' | 'create' | 'update' | 'apply' | 'patch' | 'delete';
  /** The plural, with the subresource: `pods`, `leases`, `delegatedcredentials/status`. */
  readonly resource: string;
  /** HTTP status; 0 when no answer came. */
  readonly status: number;
  readonly seconds: number;
}

export interface ApiClientOptions {
  readonly userAgent: string;
  /** Who owns the fields that this client applies and patches. */
  readonly fieldManager: string;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly connections?: number;
  readonly timeoutMs?: number;
  readonly maxAttempts?: number;
  readonly observe?: (call: ApiCall) => void;
}

export interface ObjectReference {
  readonly namespace?: string | undefined;
  readonly name: string;
}

export interface CallOptions {
  readonly signal: AbortSignal;
}

/** `metadataOnly`: the answer carries the metadata and nothing else (T is then PartialObjectMetadata). */
export interface ReadOptions extends CallOptions {
  readonly metadataOnly?: boolean;
}

export interface WriteOptions extends ReadOptions {
  readonly subresource?: string;
}

export interface CreateOptions extends WriteOptions {
  /** The object whose subresource is created. */
  readonly name?: string;
}

export interface ApplyOptions extends WriteOptions {
  /** Take over fields that another manager owns. */
  readonly force?: boolean;
}

export interface DeleteOptions extends CallOptions {
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
  readonly propagationPolicy?: 'Orphan' | 'Background' | 'Foreground';
}

export interface Selection {
  /** Omitted: all namespaces. */
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly metadataOnly?: boolean | undefined;
}

export interface ListSelection extends Selection {
  readonly limit?: number;
  readonly continue?: string;
  readonly resourceVersionMatch?: 'Exact' | 'NotOlderThan';
}

export interface WatchSelection extends Selection {
  readonly sendInitialEvents?: boolean;
  readonly timeoutSeconds?: number;
}

/** What may be written; apiVersion and kind are filled in from the type. */
export interface WritableObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ObjectMeta;
}

export class ApiClient {
  constructor(_connection: Connection, _options: ApiClientOptions) {}

  get<T = KubernetesObject>(_type: ResourceType, _ref: ObjectReference, _options: ReadOptions): Promise<T> {
    throw new Error('not yet');
  }

  list<T = KubernetesObject>(
    _type: ResourceType,
    _selection: ListSelection,
    _options: CallOptions,
  ): Promise<ObjectList<T>> {
    throw new Error('not yet');
  }

  create<T = KubernetesObject>(_type: ResourceType, _object: WritableObject, _options: CreateOptions): Promise<T> {
    throw new Error('not yet');
  }

  replace<T = KubernetesObject>(_type: ResourceType, _object: WritableObject, _options: WriteOptions): Promise<T> {
    throw new Error('not yet');
  }

  apply<T = KubernetesObject>(_type: ResourceType, _object: WritableObject, _options: ApplyOptions): Promise<T> {
    throw new Error('not yet');
  }

  mergePatch<T = KubernetesObject>(
    _type: ResourceType,
    _ref: ObjectReference,
    _patch: object,
    _options: WriteOptions,
  ): Promise<T> {
    throw new Error('not yet');
  }

  delete(_type: ResourceType, _ref: ObjectReference, _options: DeleteOptions): Promise<void> {
    throw new Error('not yet');
  }

  watch<T = KubernetesObject>(
    _type: ResourceType,
    _selection: WatchSelection,
    _options: CallOptions,
  ): AsyncIterable<WatchEvent<T>> {
    throw new Error('not yet');
  }

  close(): Promise<void> {
    throw new Error('not yet');
  }
}
