/**
 * Pods that are admitted as they are, because injection would cost too much or make them impossible. Every reason is a warning for
 * whoever creates the pod, and an annotation that the operator shows as an Event. Pure.
 */
import { NOT_INJECTED_ANNOTATION } from '../../api/keys.ts';
import type { JsonPatch } from './json-patch.ts';
import { setEntries } from './json-patch.ts';
import type { AdmittedPod, Entries } from './pod.ts';

/** Every container gets a mount for each resource: beyond this, a patch costs the API server and us more than it is worth. */
const MAX_CONTAINERS = 256;
/** The API server's limit for all annotations of an object, keys and values together. */
const MAX_ANNOTATION_BYTES = 256 * 1024;
/** etcd takes requests of 1.5 MiB; the pod, its patch and the managed fields for both have to fit in. */
const MAX_POD_BYTES = 1024 * 1024;
const MAX_PATCH_BYTES = 256 * 1024;

export const TOO_LARGE = 'the pod is too large to be injected: make it smaller, or mount its Secret yourself';

/** Checked before anything else, by counting alone. */
export function tooManyContainers({ spec }: AdmittedPod): string | undefined {
  const count = (spec.containers ?? []).length + (spec.initContainers ?? []).length;
  if (count <= MAX_CONTAINERS) return undefined;
  return `the pod has ${count} containers, and at most ${MAX_CONTAINERS} are injected: use fewer, or mount its Secret yourself`;
}

/** Whether annotations still fit into the API server's limit when these are added. */
export function annotationsFit(present: Entries | null | undefined, added: Entries): boolean {
  const all = { ...(present ?? {}), ...added };
  const bytes = Object.entries(all).reduce((sum, [key, value]) => sum + Buffer.byteLength(key + value), 0);
  return bytes <= MAX_ANNOTATION_BYTES;
}

/** @param podBytes of the pod as JSON; undefined: not known, and not checked */
export function patchFits(patch: JsonPatch, podBytes: number | undefined): boolean {
  if (patch.length === 0) return true;
  const bytes = Buffer.byteLength(JSON.stringify(patch));
  return bytes <= MAX_PATCH_BYTES && (podBytes ?? 0) <= MAX_POD_BYTES;
}

/** The annotation for the operator, where it fits in. */
export function refusalPatch({ metadata }: AdmittedPod, reason: string): JsonPatch {
  const entry = { [NOT_INJECTED_ANNOTATION]: reason };
  return annotationsFit(metadata.annotations, entry)
    ? setEntries('/metadata/annotations', metadata.annotations, entry)
    : [];
}
