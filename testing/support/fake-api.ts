/**
 * A fake of the API client: a cluster in memory, larger than a real one can be made in the time of a benchmark or a test. Watches
 * are streams of objects that were never parsed, so that a benchmark measures the operator only. Implements only what the
 * operator calls.
 */
import { MANAGED_BY, MANAGED_BY_LABEL, RESOURCE_LABEL, SECRET_ANNOTATIONS } from '../../src/api/keys.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { KubernetesObject, ObjectMeta, WatchEvent } from '../../src/kubernetes/objects.ts';
import { formatRfc3339 } from '../../src/text/rfc3339.ts';

type Plural = string;

interface TypeOf {
  readonly plural: Plural;
}

interface Reference {
  readonly namespace?: string | undefined;
  readonly name: string;
}

interface Selection {
  readonly fieldSelector?: string | undefined;
}

type Anything = KubernetesObject<Record<string, unknown>>;

export class FakeApi {
  readonly clockMeasurement = undefined;
  readonly #objects = new Map<Plural, Map<string, Anything>>();
  readonly #watches = new Map<Plural, Set<Stream>>();
  #version = 1;
  /** Calls that wrote something. */
  writes = 0;

  put(plural: Plural, object: Anything): void {
    const { namespace = '', name = '' } = object.metadata;
    this.#version += 1;
    const metadata = { ...object.metadata, resourceVersion: String(this.#version) };
    const stored = { ...object, metadata };
    const table = this.#table(plural);
    const type = table.has(`${namespace}/${name}`) ? 'MODIFIED' : 'ADDED';
    table.set(`${namespace}/${name}`, stored);
    this.#emit(plural, { type, object: stored });
  }

  remove(plural: Plural, { name, namespace = '' }: Reference): void {
    const table = this.#table(plural);
    const object = table.get(`${namespace}/${name}`);
    if (object === undefined) return;
    table.delete(`${namespace}/${name}`);
    this.#version += 1;
    const metadata = { ...object.metadata, resourceVersion: String(this.#version) };
    this.#emit(plural, { type: 'DELETED', object: { ...object, metadata } });
  }

  find(plural: Plural, namespace: string, name: string): Anything | undefined {
    return this.#table(plural).get(`${namespace}/${name}`);
  }

  async list() {
    return { items: [], metadata: { resourceVersion: String(this.#version) } };
  }

  async get({ plural }: TypeOf, { name, namespace = '' }: Reference): Promise<Anything> {
    const found = this.find(plural, namespace, name);
    if (found === undefined) throw new ApiError('not found', { status: 404, reason: 'NotFound', details: { name } });
    return found;
  }

  async create({ plural }: TypeOf, object: Anything): Promise<Anything> {
    this.writes += 1;
    const { namespace = '', name = '' } = object.metadata;
    this.put(plural, { ...object, metadata: { ...object.metadata, uid: `uid-of-${plural}-${name}` } });
    return await this.get({ plural }, { namespace, name });
  }

  async replace({ plural }: TypeOf, object: Anything): Promise<Anything> {
    this.writes += 1;
    this.put(plural, object);
    return await this.get({ plural }, object.metadata as Reference);
  }

  async apply({ plural }: TypeOf, applied: Anything): Promise<Anything> {
    this.writes += 1;
    const ref = applied.metadata as Reference;
    const found = await this.get({ plural }, ref);
    this.put(plural, { ...found, status: applied['status'] } as Anything);
    return await this.get({ plural }, ref);
  }

  async mergePatch({ plural }: TypeOf, ref: Reference, patch: { readonly metadata?: ObjectMeta }): Promise<Anything> {
    this.writes += 1;
    const found = await this.get({ plural }, ref);
    const annotations = { ...found.metadata.annotations, ...patch.metadata?.annotations };
    this.put(plural, { ...found, metadata: { ...found.metadata, annotations } });
    return await this.get({ plural }, ref);
  }

  async delete({ plural }: TypeOf, ref: Reference): Promise<void> {
    this.writes += 1;
    this.remove(plural, ref);
  }

  async *watch(
    { plural }: TypeOf,
    { fieldSelector }: Selection,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<WatchEvent<KubernetesObject>> {
    const name = /^metadata\.name=(.*)$/.exec(fieldSelector ?? '')?.[1];
    const stream = new Stream();
    const watches = this.#watches.get(plural) ?? new Set();
    this.#watches.set(plural, watches);
    // A certificate's Secret, watched by its name, does not change here.
    if (name === undefined) watches.add(stream);
    signal.addEventListener('abort', () => stream.end(), { once: true });
    for (const object of this.#table(plural).values()) {
      if (name === undefined || object.metadata.name === name) yield { type: 'ADDED', object };
    }
    const annotations = { 'k8s.io/initial-events-end': 'true' };
    yield { type: 'BOOKMARK', object: { metadata: { annotations, resourceVersion: String(this.#version) } } };
    yield* stream.events();
    watches.delete(stream);
  }

  #table(plural: Plural): Map<string, Anything> {
    const table = this.#objects.get(plural) ?? new Map<string, Anything>();
    this.#objects.set(plural, table);
    return table;
  }

  #emit(plural: Plural, event: WatchEvent<KubernetesObject>): void {
    for (const stream of this.#watches.get(plural) ?? []) stream.push(event);
  }
}

class Stream {
  #waiting: WatchEvent<KubernetesObject>[] = [];
  #wake: (() => void) | undefined;
  #ended = false;

  push(event: WatchEvent<KubernetesObject>): void {
    this.#waiting.push(event);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *events(): AsyncGenerator<WatchEvent<KubernetesObject>> {
    while (!this.#ended) {
      const events = this.#waiting;
      this.#waiting = [];
      yield* events;
      if (this.#waiting.length === 0 && !this.#ended) await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}

export interface IssuedMetadata {
  readonly namespace: string;
  readonly resourceName: string;
  readonly pod: { readonly name: string; readonly uid: string };
  readonly certificate: { readonly sha256: string; readonly chainSha256: string };
  /** Seconds since the epoch. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly renewAt: number;
}

/** A Secret that was issued before the benchmark began, as the metadata watch shows it. */
export function issuedMetadata(given: IssuedMetadata): Anything {
  const { certificate, namespace, pod, resourceName } = given;
  return {
    metadata: {
      name: `${resourceName}-${pod.name}`,
      namespace,
      uid: `uid-of-secret-${resourceName}-${pod.name}`,
      labels: { [MANAGED_BY_LABEL]: MANAGED_BY, [RESOURCE_LABEL]: resourceName },
      annotations: {
        [SECRET_ANNOTATIONS.podName]: pod.name,
        [SECRET_ANNOTATIONS.podUid]: pod.uid,
        [SECRET_ANNOTATIONS.issuedAt]: formatRfc3339(given.issuedAt),
        [SECRET_ANNOTATIONS.expiresAt]: formatRfc3339(given.expiresAt),
        [SECRET_ANNOTATIONS.renewAt]: formatRfc3339(given.renewAt),
        [SECRET_ANNOTATIONS.certificateSha256]: certificate.sha256,
        [SECRET_ANNOTATIONS.chainSha256]: certificate.chainSha256,
        [SECRET_ANNOTATIONS.usage]: 'Server',
        [SECRET_ANNOTATIONS.keyAlgorithm]: 'ECDSAP256',
      },
      ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: pod.name, uid: pod.uid }],
    },
  };
}
