/** What injection leaves in a pod, and what it reads of it: the names are part of the contract. */
import { MAX_NAME_LENGTH } from './delegated-credential.ts';

/** On the pod: the name of the Secret that it mounts for one resource. */
const SECRET_NAME_ANNOTATION_PREFIX = 'secret.dcred.dev/';

/** On the pod: the containers that get the mounts, comma-separated. Absent: all of them. */
export const CONTAINERS_ANNOTATION = 'dcred.dev/containers';

/** What one pod may ask for: every resource is a volume, and a mount in every container. */
export const MAX_INJECTED_RESOURCES = 16;

const RESOURCE_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

export function secretNameAnnotation(resource: string): string {
  return `${SECRET_NAME_ANNOTATION_PREFIX}${resource}`;
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
