/** What one pod may ask for by `dcred.dev/inject`. */
import { MAX_NAME_LENGTH } from './delegated-credential.ts';

/** Every resource is a volume of the pod, and a mount in every container. */
export const MAX_INJECTED_RESOURCES = 16;

const RESOURCE_NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

/** Whether a DelegatedCredential may have this name. The CRD's own rules say the same. */
export function isResourceName(name: string): boolean {
  return name.length <= MAX_NAME_LENGTH && RESOURCE_NAME.test(name);
}
