/** Our own writes that the caches do not show yet: planning before they do would repeat them. */
import type { Caches } from './caches.ts';

/** The versions that our writes of one pod have reached. */
interface Written {
  readonly secret?: string | undefined;
  readonly pod?: string | undefined;
}

export class UnseenWrites {
  readonly #caches: Pick<Caches, 'pods' | 'secrets'>;
  readonly #written = new Map<string, Written>();

  constructor(caches: Pick<Caches, 'pods' | 'secrets'>) {
    this.#caches = caches;
  }

  wrote(podKey: string, { pod, secret }: Written): void {
    const before = this.#written.get(podKey);
    const written = { secret: secret ?? before?.secret, pod: pod ?? before?.pod };
    if (written.secret !== undefined || written.pod !== undefined) this.#written.set(podKey, written);
  }

  /** `seen`: the caches have just caught up with a write of the pod's Secret; `none`: there was nothing to wait for. */
  check(podKey: string, namespace: string): 'behind' | 'seen' | 'none' {
    const written = this.#written.get(podKey);
    if (written === undefined) return 'none';
    const { pods, secrets } = this.#caches;
    if (written.secret !== undefined && !secrets.isAtLeast(namespace, written.secret)) return 'behind';
    if (written.pod !== undefined && !pods.isAtLeast(namespace, written.pod)) return 'behind';
    this.#written.delete(podKey);
    return written.secret === undefined ? 'none' : 'seen';
  }
}
