/**
 * What the operator keeps of a pod. Pods are watched as metadata only.
 *
 * Whoever may create a pod chooses its labels and annotations: up to 256 KiB of annotations, up to a megabyte of labels. What is
 * kept is bounded for each pod (`MAX_KEPT`), and what exceeds the bound is reported on the pod, never silently ignored.
 */
import { isResourceName, MAX_INJECTED_RESOURCES, readInjectRequest } from '../../api/injection.ts';
import { gatedResource, INJECT_KEY, NOT_INJECTED_ANNOTATION, secretNameAnnotation } from '../../api/keys.ts';
import type { SelectablePod } from '../../api/pod-selector.ts';
import { MAX_SECRET_NAME_LENGTH } from '../../issued-secret/names.ts';
import type { KubernetesObject } from '../../kubernetes/objects.ts';
import { ownedCopy } from '../../text/owned-copy.ts';
import { printable } from '../../text/printable.ts';

export interface Pod extends SelectablePod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly terminating: boolean;
  /** `secret.dcred.dev/<resource>` annotations: resource to Secret name. */
  readonly secretNames: Readonly<Record<string, string>>;
  /** Resources whose scheduling gates it has: it is not scheduled until each of them is lifted. */
  readonly gated: readonly string[];
  /** What of its metadata is ignored because it is invalid or too much: a sentence for its owner. */
  readonly ignored?: string;
  /** Why the webhook admitted it as it was: the webhook's own sentence. */
  readonly notInjected?: string;
}

type Entries = Readonly<Record<string, string>>;

/** In characters. Labels of pods seen in the field take a few hundred, of at most some thirty labels. */
export const MAX_KEPT = {
  labels: 64,
  labelCharacters: 2048,
  secretNameCharacters: 2048,
  ignoredCharacters: 512,
  notInjectedCharacters: 256,
} as const;

/** The API server accepts no more. */
const MAX_LABEL_VALUE_LENGTH = 63;

const NONE: Entries = Object.freeze({});
const NO_NAMES: readonly string[] = Object.freeze([]);
const PREFIX = secretNameAnnotation('');

export function readPod({ metadata }: KubernetesObject): Pod {
  const { namespace = '', name = '', uid = '', labels = NONE, annotations = NONE } = metadata;
  const request = readInjectRequest(labels, annotations);
  const kept = keptLabels(labels);
  const secrets = secretNames(annotations, request.names);
  const gates = gated(annotations);
  const problems = [...request.problems, kept.problem, secrets.problem, gates.problem].filter(
    (one) => one !== undefined,
  );
  return {
    namespace,
    name,
    uid,
    labels: kept.labels,
    injected: request.names.length === 0 ? NO_NAMES : request.names,
    terminating: metadata.deletionTimestamp !== undefined,
    secretNames: secrets.names,
    gated: gates.names,
    ...keptReason(annotations[NOT_INJECTED_ANNOTATION]),
    ...(problems.length > 0 && { ignored: ownedCopy(printable(problems.join('; '), MAX_KEPT.ignoredCharacters)) }),
  };
}

/** Whoever creates the pod may write the annotation too: it is only ever shown. */
function keptReason(reason: string | undefined): Pick<Pod, 'notInjected'> {
  if (reason === undefined || reason === '') return {};
  return { notInjected: ownedCopy(printable(reason, MAX_KEPT.notInjectedCharacters)) };
}

interface KeptLabels {
  readonly labels: Entries;
  readonly problem?: string;
}

/** The first of them, in the order of their keys, as the API server sends them; the one that dcred itself reads in any case. */
function keptLabels(labels: Entries): KeptLabels {
  const kept: Record<string, string> = {};
  let [count, characters] = [0, 0];
  const own = labels[INJECT_KEY];
  if (own !== undefined) kept[INJECT_KEY] = own.length <= MAX_LABEL_VALUE_LENGTH ? own : '';
  for (const key of Object.keys(labels)) {
    const value = labels[key] ?? '';
    count += 1;
    characters += key.length + value.length;
    if (count > MAX_KEPT.labels || characters > MAX_KEPT.labelCharacters) {
      const problem =
        `the pod has more than ${MAX_KEPT.labels} labels or ${MAX_KEPT.labelCharacters} characters in them: podSelectors see only ` +
        'the first of them, by key; use fewer or shorter labels';
      return { labels: kept, problem };
    }
    kept[key] = value;
  }
  return { labels: count === 0 ? NONE : kept };
}

interface KeptNames<T> {
  readonly names: T;
  readonly problem?: string;
}

/** Those of resources that the pod asks for come first; others may belong to a resource whose podSelector selects it. */
function secretNames(annotations: Entries, injected: readonly string[]): KeptNames<Entries> {
  const wanted = injected.filter((name) => Object.hasOwn(annotations, PREFIX + name));
  const found = new Set(wanted);
  let excess = false;
  for (const key in annotations) {
    if (!key.startsWith(PREFIX) || !isResourceName(key.slice(PREFIX.length))) continue;
    if (found.size < MAX_INJECTED_RESOURCES) found.add(ownedCopy(key.slice(PREFIX.length)));
    else excess ||= !found.has(key.slice(PREFIX.length));
  }
  if (found.size === 0) return { names: NONE };
  const names: Record<string, string> = {};
  let characters = 0;
  for (const resourceName of found) {
    // One character more than a name may have: still invalid, and still said to be so.
    const name = ownedCopy((annotations[PREFIX + resourceName] ?? '').slice(0, MAX_SECRET_NAME_LENGTH + 1));
    characters += name.length;
    if (characters <= MAX_KEPT.secretNameCharacters) names[resourceName] = name;
    else excess = true;
  }
  if (!excess) return { names };
  const limits = `${MAX_INJECTED_RESOURCES} annotations ${PREFIX}* or ${MAX_KEPT.secretNameCharacters} characters in them`;
  return {
    names,
    problem: `the pod has more than ${limits}: the others are ignored; remove those that no resource uses`,
  };
}

function gated(annotations: Entries): KeptNames<readonly string[]> {
  const names: string[] = [];
  let excess = false;
  for (const key in annotations) {
    const resourceName = gatedResource(key);
    if (resourceName === undefined || !isResourceName(resourceName)) continue;
    if (names.length < MAX_INJECTED_RESOURCES) names.push(ownedCopy(resourceName));
    else excess = true;
  }
  if (names.length === 0) return { names: NO_NAMES };
  names.sort();
  if (!excess) return { names };
  return {
    names,
    problem: `the pod has more than ${MAX_INJECTED_RESOURCES} scheduling gates of dcred: the others are ignored`,
  };
}

/** Whether everything that the plan depends on is equal. Kubelets update pods far more often than that changes. */
export function samePod(a: Pod, b: Pod): boolean {
  return (
    a.uid === b.uid &&
    a.terminating === b.terminating &&
    sameEntries(a.labels, b.labels) &&
    sameEntries(a.secretNames, b.secretNames) &&
    a.injected.join() === b.injected.join() &&
    a.gated.join() === b.gated.join() &&
    a.ignored === b.ignored &&
    a.notInjected === b.notInjected
  );
}

export function sameEntries(a: Entries, b: Entries): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && a[key] === b[key]);
}
