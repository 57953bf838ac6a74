/**
 * Which pods belong to which resources, updated with every change. A pod's event costs what the pod's own labels and names cost,
 * plus the resources of its namespace that select by expressions alone: the others are found by an index, however many there are.
 */

import type { DelegatedCredentialResource } from '../../api/delegated-credential.ts';
import { selects } from '../../api/pod-selector.ts';
import type { Pod } from './pod.ts';

type Selector = DelegatedCredentialResource['spec']['podSelector'];

interface Group {
  readonly name: string;
  readonly selector: Selector;
  readonly pods: Set<string>;
  /** The list of a pod that belongs to this group alone: most do, and share it. */
  readonly alone: readonly string[];
}

interface Namespace {
  readonly groups: Map<string, Group>;
  /** Groups by one pair of their matchLabels, as `key=value`. */
  readonly byPair: Map<string, Set<Group>>;
  /** Groups that select by expressions alone, or every pod. */
  readonly unindexed: Set<Group>;
  /** Of each pod that belongs to any: the names of its groups. */
  readonly groupsOf: Map<string, readonly string[]>;
}

const NO_PODS: ReadonlySet<string> = new Set();
const NO_GROUPS: readonly string[] = Object.freeze([]);

export class Membership {
  readonly #namespaces = new Map<string, Namespace>();

  /** Sets or changes a resource's selector; `pods` are all pods of its namespace. */
  setResource(namespace: string, name: string, selector: Selector, pods: Iterable<Pod>): void {
    this.removeResource(namespace, name);
    const space = this.#namespaces.get(namespace) ?? newNamespace();
    this.#namespaces.set(namespace, space);
    const group: Group = { name, selector, pods: new Set(), alone: Object.freeze([name]) };
    space.groups.set(name, group);
    indexFor(space, selector)?.add(group);
    for (const pod of pods) {
      if (!selects(name, selector, pod)) continue;
      group.pods.add(pod.name);
      const others = space.groupsOf.get(pod.name);
      space.groupsOf.set(pod.name, others === undefined ? group.alone : [...others, name]);
    }
  }

  removeResource(namespace: string, name: string): void {
    const space = this.#namespaces.get(namespace);
    const group = space?.groups.get(name);
    if (space === undefined || group === undefined) return;
    for (const pod of group.pods) setGroups(space, pod, without(space.groupsOf.get(pod) ?? NO_GROUPS, name));
    space.groups.delete(name);
    removeFromIndex(space, group);
    if (space.groups.size === 0) this.#namespaces.delete(namespace);
  }

  /** Sets the current state of a pod; returns the names of the resources that select it now or did before. */
  setPod(pod: Pod): readonly string[] {
    const space = this.#namespaces.get(pod.namespace);
    if (space === undefined) return NO_GROUPS;
    const before = space.groupsOf.get(pod.name) ?? NO_GROUPS;
    const now = candidates(space, pod).filter(({ name, selector }) => selects(name, selector, pod));
    const names = now.map(({ name }) => name);
    const left = before.filter((name) => !names.includes(name));
    for (const name of left) space.groups.get(name)?.pods.delete(pod.name);
    for (const group of now) group.pods.add(pod.name);
    setGroups(space, pod.name, names);
    return left.length === 0 ? names : [...names, ...left];
  }

  /** Returns the names of the resources that selected it. */
  removePod({ namespace, name }: Pick<Pod, 'namespace' | 'name'>): readonly string[] {
    const space = this.#namespaces.get(namespace);
    const groups = space?.groupsOf.get(name) ?? NO_GROUPS;
    for (const group of groups) space?.groups.get(group)?.pods.delete(name);
    space?.groupsOf.delete(name);
    return groups;
  }

  /** Names of the pods that a resource selects. */
  podsOf(namespace: string, name: string): ReadonlySet<string> {
    return this.#namespaces.get(namespace)?.groups.get(name)?.pods ?? NO_PODS;
  }
}

function newNamespace(): Namespace {
  return { groups: new Map(), byPair: new Map(), unindexed: new Set(), groupsOf: new Map() };
}

/** Every group that may select the pod, each once. */
function candidates({ byPair, groups, unindexed }: Namespace, { injected, labels }: Pod): readonly Group[] {
  const found: Group[] = [];
  for (const name of injected) {
    const group = groups.get(name);
    if (group !== undefined && group.selector === undefined) found.push(group);
  }
  // A group is indexed by one pair, so no group is found twice.
  for (const key in labels) found.push(...(byPair.get(`${key}=${labels[key]}`) ?? []));
  return [...found, ...unindexed];
}

/** Undefined for a group that is found by its name. */
function indexFor({ byPair, unindexed }: Namespace, selector: Selector): Set<Group> | undefined {
  if (selector === undefined) return undefined;
  const pair = pairOf(selector);
  if (pair === undefined) return unindexed;
  const groups = byPair.get(pair) ?? new Set();
  byPair.set(pair, groups);
  return groups;
}

function removeFromIndex(space: Namespace, group: Group): void {
  indexFor(space, group.selector)?.delete(group);
  const pair = group.selector && pairOf(group.selector);
  if (pair !== undefined && space.byPair.get(pair)?.size === 0) space.byPair.delete(pair);
}

function pairOf({ matchLabels = {} }: NonNullable<Selector>): string | undefined {
  const [first] = Object.entries(matchLabels);
  return first === undefined ? undefined : first.join('=');
}

function setGroups({ groups, groupsOf }: Namespace, pod: string, names: readonly string[]): void {
  const [first, ...more] = names;
  if (first === undefined) groupsOf.delete(pod);
  else groupsOf.set(pod, more.length === 0 ? (groups.get(first)?.alone ?? names) : names);
}

function without(names: readonly string[], name: string): readonly string[] {
  return names.filter((one) => one !== name);
}
