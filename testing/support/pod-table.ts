import type { PodSource } from '../../src/operator/core/membership.ts';
import type { Pod } from '../../src/operator/core/pod.ts';

/** A fake cache of pods: a table, which counts how often a pod is read. */
export class PodTable implements PodSource {
  readonly #pods = new Map<string, Pod>();
  visits = 0;

  constructor(pods: Iterable<Pod> = []) {
    for (const pod of pods) this.set(pod);
  }

  /** Returns the pod that had the name. */
  set(pod: Pod): Pod | undefined {
    const previous = this.#pods.get(pod.name);
    this.#pods.set(pod.name, pod);
    return previous;
  }

  delete(name: string): Pod | undefined {
    const previous = this.#pods.get(name);
    this.#pods.delete(name);
    return previous;
  }

  get(_namespace: string, name: string): Pod | undefined {
    this.visits += 1;
    return this.#pods.get(name);
  }

  *inNamespace(namespace: string): Iterable<Pod> {
    for (const pod of this.#pods.values()) {
      this.visits += 1;
      if (pod.namespace === namespace) yield pod;
    }
  }
}
