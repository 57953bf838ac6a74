/**
 * Warnings for pods that request a credential by `dcred.dev/inject` and cannot use one. Pure; the cost is that of the names which
 * one pod may have.
 */

import { INJECT_KEY, secretNameAnnotation } from '../../api/keys.ts';
import { defaultSecretName } from '../../issued-secret/names.ts';
import type { Pod } from './pod.ts';

/** The Event about a pod: its reason and note. */
export interface PodWarning {
  readonly reason: PodWarningReason;
  readonly note: string;
}

export const POD_WARNING_REASONS = [
  'NotInjected',
  'ResourceNotFound',
  'NotSelected',
  'NotIssued',
  'MetadataIgnored',
] as const;
export type PodWarningReason = (typeof POD_WARNING_REASONS)[number];

const MAX_REASON_LENGTH = 600;

/** Whether the pod asks for this resource and was created without the webhook, which writes the name of its Secret. */
export function missedInjection(pod: Pick<Pod, 'injected' | 'secretNames'>, resourceName: string): boolean {
  return pod.injected.includes(resourceName) && !Object.hasOwn(pod.secretNames, resourceName);
}

/** The resources that a pod asks for and that do not serve it. */
export function unservedResources(
  { injected }: Pick<Pod, 'injected'>,
  isServed: (name: string) => boolean,
): readonly string[] {
  return injected.filter((name) => !isServed(name));
}

export interface Waiting {
  /** The resource that the pod asks for by its name. */
  readonly name: string;
  readonly pod: Pick<Pod, 'injected' | 'terminating' | 'uid'>;
  /** Undefined: there is none of that name. */
  readonly resource: { readonly selectsPod: boolean; readonly suspended: boolean } | undefined;
  /** Secrets that were issued for it already. */
  readonly secrets: readonly { readonly podUid: string }[];
  /** Why the certificate cannot be used, where that is so. */
  readonly refusal: string | undefined;
}

/** The warning for a pod that asks for a credential and gets none for a reason that a person can fix; undefined otherwise. */
export function pendingWarning({ name, pod, refusal, resource, secrets }: Waiting): PodWarning | undefined {
  if (pod.terminating || !pod.injected.includes(name)) return undefined;
  if (resource === undefined) return resourceNotFound(name);
  if (!resource.selectsPod) return notSelected(name);
  if (secrets.some(({ podUid }) => podUid === pod.uid)) return undefined;
  if (resource.suspended) return notIssued(name, 'spec.suspend is true');
  return refusal === undefined ? undefined : notIssued(name, refusal);
}

/** What of a pod's labels and annotations is invalid or too much. */
export function metadataIgnored(ignored: string): PodWarning {
  return { reason: 'MetadataIgnored', note: ignored };
}

/** Namespaces that the webhook never serves, whatever its configuration; dcred's own is another one. */
const NEVER_INJECTED: readonly string[] = ['kube-system'];

/** @param ownNamespace the namespace of the release */
export function notInjected(
  pod: Pick<Pod, 'name' | 'namespace' | 'notInjected'>,
  resourceName: string,
  ownNamespace: string,
): PodWarning {
  const requests = `this pod requests DelegatedCredential "${resourceName}" by ${INJECT_KEY}, but`;
  const secret = `Secret "${defaultSecretName(resourceName, pod.name)}"`;
  return { reason: 'NotInjected', note: `${requests} ${whyNotInjected(pod, secret, resourceName, ownNamespace)}` };
}

function whyNotInjected(
  pod: Pick<Pod, 'namespace' | 'notInjected'>,
  secret: string,
  resourceName: string,
  ownNamespace: string,
): string {
  if (pod.notInjected !== undefined) {
    return `the webhook did not inject it: ${pod.notInjected}. Its credential is in ${secret}`;
  }
  if ([...NEVER_INJECTED, ownNamespace].includes(pod.namespace)) {
    return `pods in namespace "${pod.namespace}" are never injected: run it in another namespace, or mount ${secret} yourself`;
  }
  return (
    'the webhook did not inject it: it was not reachable when the pod was created. The pod has no annotation ' +
    `${secretNameAnnotation(resourceName)} and no volume; its credential is in ${secret}. Re-create the pod once the webhook runs`
  );
}

function notSelected(resourceName: string): PodWarning {
  return {
    reason: 'NotSelected',
    note:
      `this pod requests a credential by ${INJECT_KEY}, but the podSelector of DelegatedCredential "${resourceName}" does not match ` +
      "its labels: remove spec.podSelector to select by that label alone, or correct the selector or the pod's labels",
  };
}

function notIssued(resourceName: string, why: string): PodWarning {
  const what = `this pod waits for its credential, and DelegatedCredential "${resourceName}" issues none: `;
  return { reason: 'NotIssued', note: what + why.slice(0, MAX_REASON_LENGTH) };
}

function resourceNotFound(resourceName: string): PodWarning {
  return {
    reason: 'ResourceNotFound',
    note:
      `this pod requests a credential by ${INJECT_KEY}, and there is no DelegatedCredential "${resourceName}" in this namespace: ` +
      'create it, or correct the name and re-create the pod',
  };
}
