/** Which of the Secrets of one (resource, pod) the pod mounts. Pure. */
import { defaultSecretName, isSecretName } from '../../issued-secret/names.ts';
import type { Pod } from './pod.ts';

type Named = Pick<Pod, 'name' | 'secretNames'>;

/** Undefined where the pod's annotation is no valid name. */
export function chosenSecretName(resourceName: string, pod: Named): string | undefined {
  const annotated = Object.hasOwn(pod.secretNames, resourceName) ? pod.secretNames[resourceName] : undefined;
  if (annotated === undefined) return defaultSecretName(resourceName, pod.name);
  return isSecretName(annotated) ? annotated : undefined;
}

/** The one by the pod's name for it: another, of an earlier name, may stand beside it for as long as it cannot be deleted. */
export function mountedSecret<S extends { readonly name: string }>(
  secrets: readonly S[],
  resourceName: string,
  pod: Named,
): S | undefined {
  const name = chosenSecretName(resourceName, pod);
  return secrets.find((secret) => secret.name === name) ?? secrets[0];
}
