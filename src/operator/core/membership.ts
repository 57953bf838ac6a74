/**
 * Which pods belong to which resources, updated with every change. Both directions are found by an index of labels: a pod's event
 * costs what the pod's own labels and names cost, a resource's what the pods of its label cost, however many there are of either.
 * What remains are selectors that name no label which a pod must have (`{}`, NotIn, DoesNotExist): they are compared one by one,
 * and select most pods anyway.
 *
 * Nothing is kept of a pod but its name, once for each label that a selector of its namespace is filed under: which resources
 * selected a pod before is computed from its labels as they were.
 */

import type { DelegatedCredentialResource } from '../../api/delegated-credential.ts';
import { selects } from '../../api/pod-selector.ts';
import type { Pod } from './pod.ts';

type Selector = DelegatedCredentialResource['spec']['podSelector'];
type MemberPod = Pick<Pod, 'injected' | 'labels' | 'name' | 'namespace'>;

/** The pods as the caches show them now. */
export interface PodSource {
  get(namespace: string, name: string): MemberPod | undefined;
  /** All of a namespace; called only when it has to be indexed by another label, or for a selector that no index serves. */
  inNamespace(namespace: string): Iterable<MemberPod>;
}

/** Where a group is filed: pods of a label with one of these values, with any value, or that name it (`INJECTED`). */
interface Filing {
  readonly key: string;
  /** Undefined: any. */
  readonly values: readonly string[] | undefined;
  /** A pod that is filed there is selected; otherwise it has to be compared. */
  readonly isExact: boolean;
}

interface Group {
  readonly name: string;
  readonly selector: Selector;
  /** Undefined: compared with every pod. */
  readonly filing: Filing | undefined;
}

/** Everything of one label key, while a group is filed under it. */
interface Label {
  /** Value to the names of the pods that have it. */
  readonly pods: Map<string, Set<string>>;
  readonly groups: Map<string, Set<Group>>;
  readonly groupsOfAny: Set<Group>;
}

interface Namespace {
  readonly groups: Map<string, Group>;
  readonly labels: Map<string, Label>;
  readonly unfiled: Set<Group>;
}

/** No label: the names of the resources that a pod asks for. */
const INJECTED = '';
const NO_PODS: ReadonlySet<string> = new Set();

export class Membership {
  readonly #namespaces = new Map<string, Namespace>();
  readonly #pods: PodSource;

  constructor(pods: PodSource) {
    this.#pods = pods;
  }

  /** Sets or changes a resource's selector. */
  setResource(namespace: string, name: string, selector: Selector): void {
    const space = this.#namespaces.get(namespace) ?? newNamespace();
    this.#namespaces.set(namespace, space);
    const previous = space.groups.get(name);
    const filing = filingOf(space, name, selector);
    const group: Group = { name, selector, filing };
    space.groups.set(name, group);
    if (filing === undefined) space.unfiled.add(group);
    else this.#file(namespace, space, group, filing);
    // After the new one is filed: a label that both are filed under keeps its pods.
    if (previous !== undefined) unfile(space, previous);
  }

  removeResource(namespace: string, name: string): void {
    const space = this.#namespaces.get(namespace);
    const group = space?.groups.get(name);
    if (space === undefined || group === undefined) return;
    space.groups.delete(name);
    unfile(space, group);
    if (space.groups.size === 0) this.#namespaces.delete(namespace);
  }

  /**
   * A pod is new, changed or gone; call it with every change of the source, in order.
   * @returns the names of the resources that select it now or did before
   */
  podChanged(previous: MemberPod | undefined, current: MemberPod | undefined): readonly string[] {
    const space = this.#namespaces.get((current ?? previous)?.namespace ?? '');
    if (space === undefined) return [];
    for (const [label, value] of labelsOf(space, previous)) removeFrom(label.pods, value, previous?.name ?? '');
    for (const [label, value] of labelsOf(space, current)) addTo(label.pods, value, current?.name ?? '');
    const now = selecting(space, current);
    const left = selecting(space, previous).filter((name) => !now.includes(name));
    return left.length === 0 ? now : [...now, ...left];
  }

  /** Names of the pods that a resource selects. */
  podsOf(namespace: string, name: string): Iterable<string> {
    const space = this.#namespaces.get(namespace);
    const group = space?.groups.get(name);
    if (space === undefined || group === undefined) return NO_PODS;
    const { filing } = group;
    if (filing === undefined) return this.#selected(group, this.#pods.inNamespace(namespace));
    const filed = filedPods(space, filing);
    return filing.isExact ? filed : this.#selected(group, this.#named(namespace, filed));
  }

  *#named(namespace: string, names: Iterable<string>): Iterable<MemberPod> {
    for (const name of names) {
      const pod = this.#pods.get(namespace, name);
      if (pod !== undefined) yield pod;
    }
  }

  *#selected({ name, selector }: Group, pods: Iterable<MemberPod>): Iterable<string> {
    for (const pod of pods) if (selects(name, selector, pod)) yield pod.name;
  }

  #file(namespace: string, { labels }: Namespace, group: Group, { key, values }: Filing): void {
    let label = labels.get(key);
    if (label === undefined) {
      // Once for each label that selectors use, not for each resource.
      label = { pods: new Map(), groups: new Map(), groupsOfAny: new Set() };
      for (const pod of this.#pods.inNamespace(namespace)) {
        for (const value of valuesOf(key, pod)) addTo(label.pods, value, pod.name);
      }
      labels.set(key, label);
    }
    if (values === undefined) label.groupsOfAny.add(group);
    else for (const value of values) addTo(label.groups, value, group);
  }
}

function newNamespace(): Namespace {
  return { groups: new Map(), labels: new Map(), unfiled: new Set() };
}

/**
 * By one label that a selected pod must have, so that no group is found twice: of several, the one that the fewest groups use, as
 * `app: web` among resources that all say `tier: front`.
 */
function filingOf(space: Namespace, name: string, selector: Selector): Filing | undefined {
  if (selector === undefined) return { key: INJECTED, values: [name], isExact: true };
  const { matchExpressions = [], matchLabels = {} } = selector;
  const pairs = Object.entries(matchLabels).map(([key, value]) => ({ key, values: [value] }));
  const sets = matchExpressions.flatMap(({ key, operator, values = [] }) =>
    operator === 'In' ? [{ key, values: [...new Set(values)] }] : [],
  );
  const isExact = pairs.length + matchExpressions.length === 1;
  const [first, ...others] = [...pairs, ...sets];
  if (first === undefined) {
    const exists = matchExpressions.find(({ operator }) => operator === 'Exists');
    return exists && { key: exists.key, values: undefined, isExact };
  }
  const usedBy = ({ key, values }: typeof first): number =>
    values.reduce((sum, value) => sum + (space.labels.get(key)?.groups.get(value)?.size ?? 0), 0);
  const best = others.reduce((least, one) => (usedBy(one) < usedBy(least) ? one : least), first);
  return { ...best, isExact };
}

function unfile({ labels, unfiled }: Namespace, group: Group): void {
  const { filing } = group;
  if (filing === undefined) {
    unfiled.delete(group);
    return;
  }
  const { key, values } = filing;
  const label = labels.get(key);
  if (label === undefined) return;
  label.groupsOfAny.delete(group);
  for (const value of values ?? []) removeFrom(label.groups, value, group);
  if (label.groups.size === 0 && label.groupsOfAny.size === 0) labels.delete(key);
}

/** Names of the groups that select the pod, each once. */
function selecting(space: Namespace, pod: MemberPod | undefined): readonly string[] {
  if (pod === undefined) return [];
  const found: string[] = [];
  const add = (groups: Iterable<Group> = []): void => {
    for (const { filing, name, selector } of groups) {
      if (filing?.isExact === true || selects(name, selector, pod)) found.push(name);
    }
  };
  for (const [label, value] of labelsOf(space, pod)) {
    add(label.groupsOfAny);
    add(label.groups.get(value));
  }
  add(space.unfiled);
  return found;
}

function filedPods({ labels }: Namespace, { key, values }: Filing): Iterable<string> {
  const pods = labels.get(key)?.pods;
  if (pods === undefined) return NO_PODS;
  const [first, ...others] = values ?? pods.keys();
  if (first === undefined) return NO_PODS;
  if (others.length === 0) return pods.get(first) ?? NO_PODS;
  return eachOf([first, ...others].map((value) => pods.get(value) ?? NO_PODS));
}

function* eachOf(sets: readonly Iterable<string>[]): Iterable<string> {
  for (const set of sets) yield* set;
}

/** Of the pod's labels, those that groups are filed under, each with its value. Costs the pod's labels, of which it may have 64. */
function* labelsOf({ labels }: Namespace, pod: MemberPod | undefined): Iterable<readonly [Label, string]> {
  if (pod === undefined || labels.size === 0) return;
  for (const key of [INJECTED, ...Object.keys(pod.labels)]) {
    const label = labels.get(key);
    if (label !== undefined) for (const value of valuesOf(key, pod)) yield [label, value];
  }
}

function valuesOf(key: string, { injected, labels }: MemberPod): readonly string[] {
  if (key === INJECTED) return injected;
  // A label called `constructor` is a label, not a property of every object.
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  return value === undefined ? [] : [value];
}

function addTo<T>(sets: Map<string, Set<T>>, value: string, item: T): void {
  const set = sets.get(value);
  if (set === undefined) sets.set(value, new Set([item]));
  else set.add(item);
}

function removeFrom<T>(sets: Map<string, Set<T>>, value: string, item: T): void {
  const set = sets.get(value);
  set?.delete(item);
  if (set?.size === 0) sets.delete(value);
}
