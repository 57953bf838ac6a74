/** Pods that ask for a credential by `dcred.dev/inject` and cannot get at it. Pure; each costs what the pod's own names cost. */

import { MAX_INJECTED_RESOURCES } from '../../api/injection.ts';
import { INJECT_KEY, secretNameAnnotation } from '../../api/keys.ts';
import { defaultSecretName } from '../../issued-secret/names.ts';
import type { Pod } from './pod.ts';

/** What the pod should be told: the Event's reason and note. */
export interface PodWarning {
  readonly reason: PodNoticeReason;
  readonly note: string;
}

export const POD_NOTICE_REASONS = ['NotInjected', 'ResourceNotFound', 'NotSelected', 'NotIssued'] as const;
export type PodNoticeReason = (typeof POD_NOTICE_REASONS)[number];

const MAX_NAME_LENGTH = 253;
const MAX_REASON_LENGTH = 600;

/** Whether the pod asks for this resource and was created without the webhook, which writes the name of its Secret. */
export function missedInjection(pod: Pick<Pod, 'injected' | 'secretNames'>, resource: string): boolean {
  return pod.injected.includes(resource) && !Object.hasOwn(pod.secretNames, resource);
}

/** The names that a pod asks for in vain. Only names that fit into a key of the queue. */
export function unservedResources(
  { injected }: Pick<Pod, 'injected'>,
  isServed: (name: string) => boolean,
): readonly string[] {
  return injected
    .slice(0, MAX_INJECTED_RESOURCES)
    .filter((name) => name.length <= MAX_NAME_LENGTH && !name.includes('/') && !isServed(name));
}

export interface Waiting {
  /** The resource that the pod asks for by its name. */
  readonly name: string;
  readonly pod: Pick<Pod, 'injected' | 'terminating' | 'uid'>;
  /** Undefined: there is none of that name. */
  readonly resource: { readonly selectsPod: boolean; readonly suspended: boolean } | undefined;
  /** What is issued for it already. */
  readonly secrets: readonly { readonly podUid: string }[];
  /** Why the certificate cannot be used, where that is so. */
  readonly refusal: string | undefined;
}

/** What a pod should be told that asks for a credential and gets none, for a reason that a person can mend; undefined otherwise. */
export function pendingWarning({ name, pod, refusal, resource, secrets }: Waiting): PodWarning | undefined {
  if (pod.terminating || !pod.injected.includes(name)) return undefined;
  if (resource === undefined) return resourceNotFound(name);
  if (!resource.selectsPod) return notSelected(name);
  if (secrets.some(({ podUid }) => podUid === pod.uid)) return undefined;
  if (resource.suspended) return notIssued(name, 'spec.suspend is true');
  return refusal === undefined ? undefined : notIssued(name, refusal);
}

export function notInjected(pod: Pick<Pod, 'name'>, resource: string): PodWarning {
  return {
    reason: 'NotInjected',
    note:
      `this pod asks for DelegatedCredential "${resource}" by ${INJECT_KEY} and was created while the webhook could not be asked, ` +
      `so that it has no annotation ${secretNameAnnotation(resource)} and no volume: the credential is in Secret ` +
      `"${defaultSecretName(resource, pod.name)}"; once the webhook runs, re-create the pod and it is mounted`,
  };
}

function notSelected(resource: string): PodWarning {
  return {
    reason: 'NotSelected',
    note:
      `this pod asks for a credential by ${INJECT_KEY}, and the podSelector of DelegatedCredential "${resource}" does not match its ` +
      'labels: leave the podSelector out, and the label alone selects, or correct one of the two',
  };
}

function notIssued(resource: string, why: string): PodWarning {
  const what = `this pod waits for its credential, and DelegatedCredential "${resource}" issues none: `;
  return { reason: 'NotIssued', note: what + why.slice(0, MAX_REASON_LENGTH) };
}

function resourceNotFound(resource: string): PodWarning {
  return {
    reason: 'ResourceNotFound',
    note:
      `this pod asks for a credential by ${INJECT_KEY}, and there is no DelegatedCredential "${resource}" in this namespace: ` +
      'create it, or correct the name and re-create the pod',
  };
}
