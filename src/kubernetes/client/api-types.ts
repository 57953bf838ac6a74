/** Parameters of the API client's calls, and what it reports of them. */

import type { Clock } from '../clock.ts';
import type { ObjectMeta } from '../objects.ts';
import type { ApiRequest } from './exchange.ts';

export interface ApiCall {
  readonly verb: ApiRequest['verb'];
  readonly method: ApiRequest['method'];
  /** With the subresource: `pods`, `leases`, `delegatedcredentials/status`. */
  readonly plural: string;
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
  /** For calls, at least as many as are made at once; every watch has one more, and two are reserved. 32. */
  readonly connections?: number;
  /** For one try of one call; for a watch, until it begins. 30 s. */
  readonly timeoutMs?: number;
  /** Tries of one call, the first included. 5. */
  readonly maxAttempts?: number;
  /** Called after every try. Must not throw. */
  readonly observe?: (call: ApiCall) => void;
}

export interface ObjectReference {
  readonly namespace?: string | undefined;
  readonly name: string;
}

export interface CallOptions {
  readonly signal: AbortSignal;
  /** Over a connection that is kept for such calls, so that it never waits behind others: for renewing a lease. */
  readonly reserved?: boolean;
}

/** `metadataOnly`: the answer carries the metadata and nothing else (T is then PartialObjectMetadata). */
export interface ReadOptions extends CallOptions {
  readonly metadataOnly?: boolean;
}

export interface ListOptions extends CallOptions {
  /** Items that are no objects are passed on too, to who skips them; without it they fail the list. */
  readonly anyItems?: boolean;
  /** A larger answer is not read to its end, and fails as ResponseTooLarge. 16 MiB, which is also the most. */
  readonly maxBytes?: number;
}

export interface WriteOptions extends ReadOptions {
  readonly subresource?: string;
}

export interface CreateOptions extends WriteOptions {
  /** The object whose subresource is created. */
  readonly name?: string;
  /** Go through all of admission, and store nothing. */
  readonly dryRun?: boolean;
}

export interface ApplyOptions extends WriteOptions {
  /** Take over fields that another manager owns. */
  readonly force?: boolean;
}

export interface DeleteOptions extends CallOptions {
  readonly preconditions?: { readonly uid?: string; readonly resourceVersion?: string };
}

export interface WatchOptions extends CallOptions {
  /** The longest silence of a healthy watch: the API server sends a bookmark about every minute. 75 to 90 s. */
  readonly quietMs?: number;
  /** Called once, when the server has accepted the watch. */
  readonly onAccepted?: () => void;
}

interface Selection {
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
