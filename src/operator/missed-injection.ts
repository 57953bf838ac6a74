/** Pods that ask for a credential by `dcred.dev/inject` and cannot get at it. Pure; each costs what the pod's own names cost. */
import { MAX_INJECTED_RESOURCES, secretNameAnnotation } from '../api/injection.ts';
import { INJECT_KEY } from '../api/pod-selector.ts';
import { defaultSecretName } from './names.ts';
import type { Pod } from './pod.ts';

/** What the pod should be told: the Event's reason and note. */
export interface PodNotice {
  readonly reason: PodNoticeReason;
  readonly note: string;
}

export const POD_NOTICE_REASONS = ['NotInjected', 'ResourceNotFound'] as const;
export type PodNoticeReason = (typeof POD_NOTICE_REASONS)[number];

const MAX_NAME_LENGTH = 253;

/** Whether the pod asks for this resource and was created without the webhook, which writes the name of its Secret. */
export function missedInjection(pod: Pick<Pod, 'injected' | 'secretNames'>, resource: string): boolean {
  return pod.injected.includes(resource) && !Object.hasOwn(pod.secretNames, resource);
}

/** The names that a pod asks for and that no resource of its namespace has. Only names that fit into a key of the queue. */
export function unknownResources(
  { injected }: Pick<Pod, 'injected'>,
  exists: (name: string) => boolean,
): readonly string[] {
  return injected
    .slice(0, MAX_INJECTED_RESOURCES)
    .filter((name) => name.length <= MAX_NAME_LENGTH && !name.includes('/') && !exists(name));
}

export function notInjected(pod: Pick<Pod, 'name'>, resource: string): PodNotice {
  return {
    reason: 'NotInjected',
    note:
      `this pod asks for DelegatedCredential "${resource}" by ${INJECT_KEY} and was created while the webhook could not be asked, ` +
      `so that it has no annotation ${secretNameAnnotation(resource)} and no volume: the credential is in Secret ` +
      `"${defaultSecretName(resource, pod.name)}"; once the webhook runs, re-create the pod and it is mounted`,
  };
}

export function resourceNotFound(resource: string): PodNotice {
  return {
    reason: 'ResourceNotFound',
    note:
      `this pod asks for a credential by ${INJECT_KEY}, and there is no DelegatedCredential "${resource}" in this namespace: ` +
      'create it, or correct the name and re-create the pod',
  };
}
