/** What the operator keeps of a pod. Pods are watched as metadata only. */
import { gatedResource, secretNameAnnotation } from '../../api/keys.ts';
import { injectedResources, type SelectablePod } from '../../api/pod-selector.ts';
import type { KubernetesObject } from '../../kubernetes/objects.ts';

export interface Pod extends SelectablePod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly terminating: boolean;
  /** `secret.dcred.dev/<resource>` annotations: resource to Secret name. */
  readonly secretNames: Readonly<Record<string, string>>;
  /** Resources whose scheduling gates it has: it is not scheduled until each of them is lifted. */
  readonly gated: readonly string[];
}

const NONE: Readonly<Record<string, string>> = Object.freeze({});
const NOWHERE: readonly string[] = Object.freeze([]);
const PREFIX = secretNameAnnotation('');

export function readPod({ metadata }: KubernetesObject): Pod {
  const { namespace = '', name = '', uid = '', labels = NONE, annotations = NONE } = metadata;
  return {
    namespace,
    name,
    uid,
    labels,
    injected: injectedResources(labels, annotations),
    terminating: metadata.deletionTimestamp !== undefined,
    secretNames: secretNames(annotations),
    gated: gated(annotations),
  };
}

function secretNames(annotations: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const own = Object.entries(annotations).filter(([key]) => key.startsWith(PREFIX));
  if (own.length === 0) return NONE;
  return Object.fromEntries(own.map(([key, name]) => [key.slice(PREFIX.length), name]));
}

function gated(annotations: Readonly<Record<string, string>>): readonly string[] {
  const found = Object.keys(annotations).flatMap((key) => gatedResource(key) ?? []);
  return found.length === 0 ? NOWHERE : found.sort();
}

/** Whether everything that the plan depends on is equal. Kubelets update pods far more often than that changes. */
export function samePod(a: Pod, b: Pod): boolean {
  return (
    a.uid === b.uid &&
    a.terminating === b.terminating &&
    sameEntries(a.labels, b.labels) &&
    sameEntries(a.secretNames, b.secretNames) &&
    a.injected.join() === b.injected.join() &&
    a.gated.join() === b.gated.join()
  );
}

export function sameEntries(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && a[key] === b[key]);
}
