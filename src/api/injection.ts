/** What one pod may ask for by `dcred.dev/inject`. */
import { isDnsLabel } from '../text/dns-name.ts';
import { MAX_NAME_LENGTH } from './delegated-credential.ts';

/** Every resource is a volume of the pod, and a mount in every container. */
export const MAX_INJECTED_RESOURCES = 16;

/** Whether a DelegatedCredential may have this name. The CRD's own rules say the same. */
export function isResourceName(name: string): boolean {
  return name.length <= MAX_NAME_LENGTH && isDnsLabel(name);
}
