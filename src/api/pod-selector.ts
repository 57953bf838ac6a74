/** Which pods a DelegatedCredential selects. Semantics of meta/v1 LabelSelector. */

import type { PodSelector } from './delegated-credential.ts';
import { INJECT_KEY } from './keys.ts';

type Labels = Readonly<Record<string, string>>;

export interface SelectablePod {
  readonly labels: Labels;
  /** Names of the resources that the pod asks for: see `injectedResources`. */
  readonly injected: readonly string[];
}

/**
 * The resources that a pod asks for by `dcred.dev/inject`. The label is the switch and names one; the annotation of the same
 * name, where the label is present, may name several, comma-separated.
 */
export function injectedResources(labels: Labels, annotations: Labels): readonly string[] {
  const label = labels[INJECT_KEY];
  if (label === undefined) return [];
  const named = [label, ...(annotations[INJECT_KEY] ?? '').split(',')].map((name) => name.trim());
  return [...new Set(named.filter((name) => name !== ''))];
}

/** An omitted selector selects by injection; an empty one selects every pod. */
export function selects(resourceName: string, selector: PodSelector | undefined, pod: SelectablePod): boolean {
  if (selector === undefined) return pod.injected.includes(resourceName);
  return matchesLabels(selector, pod.labels) && matchesExpressions(selector, pod.labels);
}

function matchesLabels({ matchLabels = {} }: PodSelector, labels: Labels): boolean {
  return Object.entries(matchLabels).every(([key, value]) => ownValue(labels, key) === value);
}

function matchesExpressions({ matchExpressions = [] }: PodSelector, labels: Labels): boolean {
  return matchExpressions.every((requirement) => holds(requirement, labels));
}

type Requirement = NonNullable<PodSelector['matchExpressions']>[number];

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
