/** Which pods a DelegatedCredential selects. Semantics of meta/v1 LabelSelector. */

import type { PodSelector } from './delegated-credential.ts';

type Labels = Readonly<Record<string, string>>;
/** Of pods or of namespaces: the same but for how many entries they may have. */
type LabelSelector = PodSelector;

export interface SelectablePod {
  readonly labels: Labels;
  /** Names of the resources that the pod asks for: see `readInjectRequest`. */
  readonly injected: readonly string[];
}

/** An omitted selector selects by injection; an empty one selects every pod. */
export function selects(resourceName: string, selector: PodSelector | undefined, pod: SelectablePod): boolean {
  if (selector === undefined) return pod.injected.includes(resourceName);
  return matches(selector, pod.labels);
}

/** An empty selector matches all. */
export function matches(selector: LabelSelector, labels: Labels): boolean {
  return matchesLabels(selector, labels) && matchesExpressions(selector, labels);
}

function matchesLabels({ matchLabels = {} }: LabelSelector, labels: Labels): boolean {
  return Object.entries(matchLabels).every(([key, value]) => ownValue(labels, key) === value);
}

function matchesExpressions({ matchExpressions = [] }: LabelSelector, labels: Labels): boolean {
  return matchExpressions.every((requirement) => holds(requirement, labels));
}

type Requirement = NonNullable<LabelSelector['matchExpressions']>[number];

/** As in meta/v1: NotIn holds for a pod without the label. */
function holds({ key, operator, values = [] }: Requirement, labels: Labels): boolean {
  const value = ownValue(labels, key);
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
  }
}

/** A label called `constructor` is a label, not a property of every object. */
function ownValue(labels: Labels, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}
