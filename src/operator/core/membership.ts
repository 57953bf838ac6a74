/**
 * Which pods belong to which resources, updated with every change: a pod's event costs one pass over the resources of its
 * namespace, whatever the size of the fleet.
 */

import type { DelegatedCredentialResource } from '../../api/delegated-credential.ts';
import { selects } from '../../api/pod-selector.ts';
import type { Pod } from './pod.ts';

type Selector = DelegatedCredentialResource['spec']['podSelector'];

interface Group {
  readonly name: string;
  readonly selector: Selector;
  readonly pods: Set<string>;
}

export class Membership {
  /** namespace -> resource name -> its pods. */
  readonly #namespaces = new Map<string, Map<string, Group>>();

  /** Sets or changes a resource's selector; `pods` are all pods of its namespace. */
  setResource(namespace: string, name: string, selector: Selector, pods: Iterable<Pod>): void {
    const members = new Set<string>();
    for (const pod of pods) if (selects(name, selector, pod)) members.add(pod.name);
    const groups = this.#namespaces.get(namespace) ?? new Map<string, Group>();
    this.#namespaces.set(namespace, groups);
    groups.set(name, { name, selector, pods: members });
  }

  removeResource(namespace: string, name: string): void {
    const groups = this.#namespaces.get(namespace);
    groups?.delete(name);
    if (groups?.size === 0) this.#namespaces.delete(namespace);
  }

  /** Sets the current state of a pod; returns the names of the resources that select it now or did before. */
  setPod(pod: Pod): readonly string[] {
    const touched: string[] = [];
    for (const { name, selector, pods } of this.#groups(pod.namespace)) {
      const isMember = selects(name, selector, pod);
      const wasMember = pods.has(pod.name);
      if (isMember) pods.add(pod.name);
      if (!isMember && wasMember) pods.delete(pod.name);
      if (isMember || wasMember) touched.push(name);
    }
    return touched;
  }

  /** Returns the names of the resources that selected it. */
  removePod({ namespace, name }: Pick<Pod, 'namespace' | 'name'>): readonly string[] {
    return [...this.#groups(namespace)].filter((group) => group.pods.delete(name)).map((group) => group.name);
  }

  /** Names of the pods that a resource selects. */
  podsOf(namespace: string, name: string): ReadonlySet<string> {
    return this.#namespaces.get(namespace)?.get(name)?.pods ?? NO_PODS;
  }

  #groups(namespace: string): Iterable<Group> {
    return this.#namespaces.get(namespace)?.values() ?? [];
  }
}

const NO_PODS: ReadonlySet<string> = new Set();
