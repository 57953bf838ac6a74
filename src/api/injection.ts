/** What injection leaves in a pod, and what it reads of it: the names are part of the contract. */
import { MAX_NAME_LENGTH } from './delegated-credential.ts';

/** On the pod: the name of the Secret that it mounts for one resource. */
const SECRET_NAME_ANNOTATION_PREFIX = 'secret.dcred.dev/';

/** See `gateName`. */
const GATE_PREFIX = 'gate.dcred.dev/';

/** On the pod: the containers that get the mounts, comma-separated. Absent: all of them. */
export const CONTAINERS_ANNOTATION = 'dcred.dev/containers';

/** What one pod may ask for: every resource is a volume, and a mount in every container. */
export const MAX_INJECTED_RESOURCES = 16;

const RESOURCE_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

export function secretNameAnnotation(resource: string): string {
  return `${SECRET_NAME_ANNOTATION_PREFIX}${resource}`;
}

/**
 * The scheduling gate that keeps a pod from any node until its Secret for one resource is there, and the annotation that says so:
 * pods are watched as metadata only, and gates stand in the spec. Both go in one write.
 */
export function gateName(resource: string): string {
  return GATE_PREFIX + resource;
}

/** The resource that a gate, or the annotation that stands for it, is about; undefined for one that is not ours. */
export function gatedResource(name: string): string | undefined {
  return name.startsWith(GATE_PREFIX) ? name.slice(GATE_PREFIX.length) : undefined;
}

export function volumeName(resource: string): string {
  return `dcred-${resource}`;
}

export function mountPath(resource: string): string {
  return `/var/run/secrets/dcred.dev/${resource}`;
}

/** Whether a DelegatedCredential may be called so. The CRD's own rules say the same. */
export function isResourceName(name: string): boolean {
  return name.length <= MAX_NAME_LENGTH && RESOURCE_NAME.test(name);
}
