/** Our own writes that the caches do not show yet: planning before they do would repeat them. */
import type { Clock } from '../../kubernetes/clock.ts';
import type { Caches } from '../caches.ts';

/** The versions that our writes of one pod have reached. */
interface Written {
  readonly secret?: string | undefined;
  readonly pod?: string | undefined;
}

/**
 * What the caches have not shown after this long is not waited for: etcd may have been restored from before it. Planning again
 * is safe then: the API server refuses what was planned on old knowledge.
 */
const GIVE_UP_MS = 60_000;

export class UnseenWrites {
  readonly #caches: Pick<Caches, 'pods' | 'secrets'>;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #written = new Map<string, Written & { readonly atMs: number }>();

  constructor(caches: Pick<Caches, 'pods' | 'secrets'>, clock: Pick<Clock, 'monotonic'>) {
    this.#caches = caches;
    this.#clock = clock;
  }

  wrote(podKey: string, { pod, secret }: Written): void {
    const before = this.#written.get(podKey);
    const atMs = this.#clock.monotonic();
    const written = { secret: secret ?? before?.secret, pod: pod ?? before?.pod, atMs };
    if (written.secret !== undefined || written.pod !== undefined) this.#written.set(podKey, written);
  }

  /** Of our last write of the pod's Secret, where the caches have not shown it when they were last asked. */
  versionOf(podKey: string): string | undefined {
    return this.#written.get(podKey)?.secret;
  }

  /** `seen`: the caches have just caught up with a write of the pod's Secret; `none`: there was nothing to wait for. */
  check(podKey: string, namespace: string): 'behind' | 'seen' | 'none' {
    const written = this.#written.get(podKey);
    if (written === undefined) return 'none';
    if (this.#clock.monotonic() - written.atMs > GIVE_UP_MS) {
      this.#written.delete(podKey);
      return 'none';
    }
    const { pods, secrets } = this.#caches;
    if (written.secret !== undefined && !secrets.isAtLeast(namespace, written.secret)) return 'behind';
    if (written.pod !== undefined && !pods.isAtLeast(namespace, written.pod)) return 'behind';
    this.#written.delete(podKey);
    return written.secret === undefined ? 'none' : 'seen';
  }
}
