/**
 * The API server's verbs over one pool of HTTP/1.1 connections. Every call ends in its answer, an ApiError, or its signal's
 * reason; what is retried, and why so few of the writes, is in retry-policy.ts.
 */

import { isRecord } from '../../text/is-record.ts';
import { ApiError } from '../api-error.ts';
import { delay } from '../clock.ts';
import type { Connection } from '../connection/connection.ts';
import { Deadline } from '../deadline.ts';
import type { KubernetesObject, ObjectList, WatchEvent } from '../objects.ts';
import { apiVersionOf, type ResourcePathParts, type ResourceType, resourcePath, SECRETS } from '../resource-type.ts';
import { whole } from './answers.ts';
import type {
  ApiClientOptions,
  ApplyOptions,
  CallOptions,
  CreateOptions,
  DeleteOptions,
  ListOptions,
  ListSelection,
  ObjectReference,
  ReadOptions,
  WatchOptions,
  WatchSelection,
  WritableObject,
  WriteOptions,
} from './api-types.ts';
import type { ClockMeasurement } from './clock-skew.ts';
import { type ApiRequest, exchange } from './exchange.ts';
import { type Repeatability, retryDelay } from './retry-policy.ts';
import { encodeSecret, PROTOBUF_TYPE } from './secret-protobuf.ts';
import { invalidResponseError } from './status-error.ts';
import { type Pools, Transport } from './transport.ts';
import { watchStream } from './watch-stream.ts';
import { yamlSafe } from './yaml-safe.ts';

const JSON_TYPE = 'application/json';
const METADATA = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1';
const METADATA_LIST = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';

const UNSUPPORTED_MEDIA_TYPE = 415;

const DEFAULT_CONNECTIONS = 32;
const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_MAX_ATTEMPTS = 5;
/** A bookmark comes every minute; the spread keeps watches that broke together from coming back together. */
const QUIET_MS = { least: 75_000, spread: 15_000 };

export class ApiClient {
  readonly #transport: Transport;
  readonly #options: ApiClientOptions;
  readonly #timeoutMs: number;
  #clockMeasurement: ClockMeasurement | undefined;
  /** Until it refuses one: not every server that speaks Kubernetes' API reads more than JSON. */
  #readsProtobuf = true;

  constructor(connection: Connection, options: ApiClientOptions) {
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#transport = new Transport(connection, options.connections ?? DEFAULT_CONNECTIONS);
  }

  /**
   * How far the local clock is ahead of the API server's (behind: negative), to within a second, by its last answer; undefined before
   * the first. 0: no measurable difference.
   */
  get clockSkewMs(): number | undefined {
    return this.#clockMeasurement?.skewMs;
  }

  /** The same, with what shows that the local clock was set since. */
  get clockMeasurement(): ClockMeasurement | undefined {
    return this.#clockMeasurement;
  }

  get<T = KubernetesObject>(type: ResourceType, ref: ObjectReference, options: ReadOptions): Promise<T> {
    const request = this.#request('get', 'GET', type, ref, { accept: options.metadataOnly ? METADATA : JSON_TYPE });
    return this.#call<T>(request, 'repeatable', options, parseNamed);
  }

  /** What no type describes, by its path: `/version`, `/apis`. */
  getPath<T extends object>(path: string, options: CallOptions): Promise<T> {
    return this.#call<T>(requestFor(path, JSON_TYPE), 'repeatable', options);
  }

  /** As text: a pod's log, by its path and query. */
  getText(path: string, options: CallOptions): Promise<string> {
    return this.#call(requestFor(path, '*/*'), 'repeatable', options, (_what, text) => text);
  }

  /** One page. With `metadataOnly`, T is PartialObjectMetadata. Items carry no apiVersion and kind. */
  async list<T = KubernetesObject>(
    type: ResourceType,
    selection: ListSelection,
    options: ListOptions,
  ): Promise<ObjectList<T>> {
    const { namespace, metadataOnly, ...query } = selection;
    const accept = metadataOnly ? METADATA_LIST : JSON_TYPE;
    const request = this.#request('list', 'GET', type, { namespace }, { accept, query, maxBytes: options.maxBytes });
    const list = await this.#call<ObjectList<T> & { readonly items: readonly T[] | null }>(
      request,
      'repeatable',
      options,
    );
    const { metadata, items } = list;
    if (typeof metadata !== 'object' || metadata === null || !(items === null || Array.isArray(items))) {
      throw invalidResponseError(request.what, 'an object that is not a list');
    }
    if (!(options.anyItems || (items ?? []).every(isNamed))) throw namelessError(request.what);
    return { metadata, items: items ?? [] };
  }

  /** Never repeated once it may have reached the server: a create that timed out may have happened. */
  create<T = KubernetesObject>(type: ResourceType, object: WritableObject, options: CreateOptions): Promise<T> {
    const { subresource, name } = options;
    const { namespace } = object.metadata;
    if (type.namespaced && namespace === undefined) {
      throw new TypeError(`expected metadata.namespace in a new ${type.kind}, found none`);
    }
    const query = options.dryRun === true ? { dryRun: 'All' } : {};
    const target = { namespace, name, subresource };
    const request = this.#request('create', 'POST', type, target, this.#write(JSON_TYPE, options, query));
    return this.#send<T>(request, type, object, options);
  }

  /** With metadata.resourceVersion: only over that very version, else Conflict. */
  replace<T = KubernetesObject>(type: ResourceType, object: WritableObject, options: WriteOptions): Promise<T> {
    const target = targetOf(type, object, options);
    return this.#send<T>(
      this.#request('update', 'PUT', type, target, this.#write(JSON_TYPE, options)),
      type,
      object,
      options,
    );
  }

  /** Server-side apply: the object holds the fields that this manager wants to own, and no others. */
  apply<T = KubernetesObject>(type: ResourceType, object: WritableObject, options: ApplyOptions): Promise<T> {
    const request = this.#request('apply', 'PATCH', type, targetOf(type, object, options), {
      ...this.#write('application/apply-patch+yaml', options, { force: options.force }),
      body: yamlSafe(withType(type, object)),
    });
    return this.#call<T>(request, object.metadata.resourceVersion === undefined ? 'repeatable' : 'once', options);
  }

  /** JSON merge patch (RFC 7386): null deletes, lists are replaced whole. */
  mergePatch<T = KubernetesObject>(
    type: ResourceType,
    ref: ObjectReference,
    patch: object,
    options: WriteOptions,
  ): Promise<T> {
    return this.#patch<T>(type, ref, patch, 'application/merge-patch+json', options);
  }

  /** As a merge patch, but items of lists are changed by their key, and `$patch: delete` removes one. Not for custom resources. */
  strategicMergePatch<T = KubernetesObject>(
    type: ResourceType,
    ref: ObjectReference,
    patch: object,
    options: WriteOptions,
  ): Promise<T> {
    return this.#patch<T>(type, ref, patch, 'application/strategic-merge-patch+json', options);
  }

  #patch<T>(
    type: ResourceType,
    ref: ObjectReference,
    patch: object,
    contentType: string,
    options: WriteOptions,
  ): Promise<T> {
    const { subresource } = options;
    const request = this.#request(
      'patch',
      'PATCH',
      type,
      { ...ref, subresource },
      {
        query: { fieldManager: this.#options.fieldManager },
        accept: options.metadataOnly ? METADATA : JSON_TYPE,
        contentType,
        body: JSON.stringify(patch),
      },
    );
    return this.#call<T>(request, holdsVersion(patch) ? 'once' : 'repeatable', options);
  }

  /** With a UID: repeated where no answer came, so NotFound may mean that an earlier try succeeded. */
  async delete(type: ResourceType, ref: ObjectReference, options: DeleteOptions): Promise<void> {
    const { preconditions } = options;
    const request = this.#request('delete', 'DELETE', type, ref, {
      contentType: JSON_TYPE,
      body: JSON.stringify({ apiVersion: 'v1', kind: 'DeleteOptions', preconditions }),
    });
    // Without a UID, a second try might hit the object that has taken the first one's place.
    await this.#call(request, preconditions?.uid === undefined ? 'once' : 'repeatable', options);
  }

  /** With bookmarks. Ends when the server ends it; throws as calls do, and is never retried here. */
  watch<T = KubernetesObject>(
    type: ResourceType,
    selection: WatchSelection,
    options: WatchOptions,
  ): AsyncIterable<WatchEvent<T>> {
    const { namespace, metadataOnly, sendInitialEvents, ...query } = selection;
    const request = this.#request(
      'watch',
      'GET',
      type,
      { namespace },
      {
        accept: metadataOnly ? METADATA : JSON_TYPE,
        query: {
          ...query,
          watch: true,
          allowWatchBookmarks: true,
          ...(sendInitialEvents && { sendInitialEvents, resourceVersionMatch: 'NotOlderThan' }),
        },
      },
    );
    const { clock, random } = this.#options;
    const started = clock.monotonic();
    return watchStream<T>(this.#context(), request, {
      signal: options.signal,
      clock,
      timeoutMs: this.#timeoutMs,
      quietMs: options.quietMs ?? QUIET_MS.least + QUIET_MS.spread * random(),
      observe: (status) => this.#observe(request, status, started),
      onAccepted: options.onAccepted,
    });
  }

  /** Aborts what is still in flight. */
  close(): Promise<void> {
    return this.#transport.close();
  }

  #write(contentType: string, options: WriteOptions, query: ApiRequest['query'] = {}): Partial<ApiRequest> {
    return {
      query: { ...query, fieldManager: this.#options.fieldManager },
      accept: options.metadataOnly ? METADATA : JSON_TYPE,
      contentType,
    };
  }

  /** A Secret as protobuf where that says all of it and the server reads it (ADR 51); everything else as JSON. */
  async #send<T>(request: ApiRequest, type: ResourceType, object: WritableObject, options: CallOptions): Promise<T> {
    const whole = withType(type, object);
    const body = this.#readsProtobuf && isSecret(type) ? encodeSecret(whole) : undefined;
    if (body !== undefined) {
      try {
        return await this.#call<T>({ ...request, contentType: PROTOBUF_TYPE, body }, 'once', options);
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== UNSUPPORTED_MEDIA_TYPE) throw error;
        this.#readsProtobuf = false;
      }
    }
    return await this.#call<T>({ ...request, body: JSON.stringify(whole) }, 'once', options);
  }

  #request(
    verb: ApiRequest['verb'],
    method: ApiRequest['method'],
    type: ResourceType,
    target: ResourcePathParts,
    parts: Partial<ApiRequest>,
  ): ApiRequest {
    const plural = target.subresource === undefined ? type.plural : `${type.plural}/${target.subresource}`;
    const name = [target.namespace, target.name].filter((part) => part !== undefined).join('/');
    return {
      verb,
      method,
      plural,
      what: `${verb} ${plural}${name === '' ? '' : ` ${name}`}`,
      path: resourcePath(type, target),
      query: {},
      accept: JSON_TYPE,
      ...parts,
    };
  }

  async #call<T>(
    request: ApiRequest,
    repeatability: Repeatability,
    options: CallOptions,
    parse: (what: string, text: string) => T = parseObject,
  ): Promise<T> {
    const { signal, reserved = false } = options;
    const { clock, random, maxAttempts = DEFAULT_MAX_ATTEMPTS } = this.#options;
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted();
      const started = clock.monotonic();
      try {
        return await this.#attempt(request, reserved ? 'reserved' : 'calls', signal, parse);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        this.#observe(request, error.status, started);
        const ms = attempt < maxAttempts ? retryDelay(error, repeatability, attempt, random()) : undefined;
        if (ms === undefined) throw error;
        await delay(clock, ms, signal);
      }
    }
  }

  async #attempt<T>(
    request: ApiRequest,
    pool: keyof Pools,
    signal: AbortSignal,
    parse: (what: string, text: string) => T,
  ): Promise<T> {
    const { clock } = this.#options;
    const started = clock.monotonic();
    using deadline = new Deadline(signal, clock, this.#timeoutMs);
    const receiver = whole(request.maxBytes);
    const { statusCode, text } = await exchange(this.#context(), request, pool, receiver, deadline, this.#timeoutMs);
    const answer = parse(request.what, text);
    this.#observe(request, statusCode, started);
    return answer;
  }

  #context() {
    const { userAgent, clock } = this.#options;
    const onSkew = (skewMs: number): void => {
      this.#clockMeasurement = { skewMs, offsetMs: clock.now() - clock.monotonic() };
    };
    return { transport: this.#transport, userAgent, now: () => clock.now(), onSkew };
  }

  #observe({ verb, method, plural }: ApiRequest, status: number, started: number): void {
    const seconds = (this.#options.clock.monotonic() - started) / 1000;
    this.#options.observe?.({ verb, method, plural, status, seconds });
  }
}

/** What is written says what it is; the object's own words for it count. */
function withType(type: ResourceType, object: WritableObject) {
  return { apiVersion: apiVersionOf(type), kind: type.kind, ...object };
}

function isSecret({ group, kind, version }: ResourceType): boolean {
  return group === SECRETS.group && kind === SECRETS.kind && version === SECRETS.version;
}

function requestFor(path: string, accept: string): ApiRequest {
  const what = `get ${path}`;
  return { verb: 'get', method: 'GET', plural: 'nonresource', what, path, query: {}, accept };
}

function targetOf(type: ResourceType, { metadata }: WritableObject, { subresource }: WriteOptions): ResourcePathParts {
  if (metadata.name === undefined) throw new TypeError(`expected metadata.name in a ${type.kind} to write, found none`);
  return { namespace: metadata.namespace, name: metadata.name, subresource };
}

function holdsVersion(patch: object): boolean {
  const metadata: unknown = 'metadata' in patch ? patch.metadata : undefined;
  return typeof metadata === 'object' && metadata !== null && 'resourceVersion' in metadata;
}

function parseObject<T>(what: string, text: string): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw invalidResponseError(what, `${text.length} characters that are not`);
  }
  if (typeof value !== 'object' || value === null) throw invalidResponseError(what, typeof value);
  // Boundary of trust: the API server keeps its own schema; whoever needs more certainty parses T.
  return value as T;
}

function parseNamed<T>(what: string, text: string): T {
  const value = parseObject<T>(what, text);
  if (!isNamed(value)) throw namelessError(what);
  return value;
}

function namelessError(what: string): ApiError {
  const message = `${what}: expected an object of Kubernetes, found one without a name in its metadata; is there a proxy in between?`;
  return new ApiError(message, { status: 0, reason: 'InvalidResponse' });
}

/** Every object in the store of an API server has a name: what has none is no object of Kubernetes. */
function isNamed(value: unknown): boolean {
  return isRecord(value) && isRecord(value['metadata']) && typeof value['metadata']['name'] === 'string';
}
