/** Reads the objects that `dcred inspect secret/NAME` and `pod/NAME` name. */

import { MANAGED_BY, MANAGED_BY_LABEL } from '../../api/keys.ts';
import { readIssuedSecret } from '../../issued-secret/issued-secret.ts';
import { isMissing } from '../../kubernetes/api-error.ts';
import type { ApiClient } from '../../kubernetes/client/api-client.ts';
import { listKept } from '../../kubernetes/client/list-all.ts';
import type { KubernetesObject } from '../../kubernetes/objects.ts';
import { PODS, type ResourceType, SECRETS } from '../../kubernetes/resource-type.ts';
import { type Pod, readPod } from '../../operator/core/pod.ts';
import { isDnsSubdomain } from '../../text/dns-name.ts';
import { printable } from '../../text/printable.ts';
import { CommandError, UsageError } from '../command.ts';
import { readSecretObject, type SecretInput } from './manifest.ts';

export interface LiveName {
  readonly kind: 'Pod' | 'Secret';
  readonly name: string;
}

const KINDS: Readonly<Record<string, LiveName['kind']>> = {
  secret: 'Secret',
  secrets: 'Secret',
  pod: 'Pod',
  pods: 'Pod',
  po: 'Pod',
};

/**
 * `secret/web-tls`, or `secret web-tls`, as kubectl takes both; undefined for what can only be a file's path. Throws UsageError for
 * an object that has no such name, or is of another kind.
 */
export function readLiveName(words: readonly string[]): LiveName | undefined {
  const [first = '', second] = words;
  const [type = '', name, ...more] = second === undefined ? first.split('/') : [first, second];
  const kind = Object.hasOwn(KINDS, type.toLowerCase()) ? KINDS[type.toLowerCase()] : undefined;
  if (kind === undefined && second === undefined) return undefined;
  if (kind === undefined) {
    throw new UsageError(`expected a file, secret/NAME or pod/NAME; got "${printable(words.join(' '))}"`);
  }
  if (name === undefined && second === undefined) return undefined;
  if (more.length > 0 || name === undefined || !isDnsSubdomain(name)) {
    const path = printable(words.join(' '));
    throw new UsageError(`expected the name of a ${kind}; got "${path}" (for a file of this name, write ./${path})`);
  }
  return { kind, name };
}

/** Throws CommandError where there is none, ApiError. */
export async function readLiveSecret(
  client: Pick<ApiClient, 'get'>,
  ref: { readonly namespace: string; readonly name: string },
  signal: AbortSignal,
): Promise<SecretInput> {
  return readSecretObject({ ...(await get(client, SECRETS, ref, signal)), kind: 'Secret' });
}

export interface LivePod {
  readonly pod: Pod;
  readonly secrets: readonly SecretInput[];
}

/** A pod, and the Secrets that dcred issued to it. Throws CommandError where there is none, ApiError. */
export async function readLivePod(
  client: Pick<ApiClient, 'get' | 'list'>,
  ref: { readonly namespace: string; readonly name: string },
  signal: AbortSignal,
): Promise<LivePod> {
  const pod = readPod(await get(client, PODS, ref, signal, true));
  const { namespace } = ref;
  const selection = { namespace, metadataOnly: true, labelSelector: `${MANAGED_BY_LABEL}=${MANAGED_BY}` };
  const issued = await listKept(client, SECRETS, selection, readIssuedSecret, signal);
  const own = issued.filter(({ podUid }) => podUid === pod.uid);
  const secrets = await Promise.all(own.map(({ name }) => readLiveSecret(client, { namespace, name }, signal)));
  return { pod, secrets };
}

async function get(
  client: Pick<ApiClient, 'get'>,
  type: ResourceType,
  { name, namespace }: { readonly namespace: string; readonly name: string },
  signal: AbortSignal,
  metadataOnly = false,
): Promise<KubernetesObject> {
  try {
    return await client.get(type, { namespace, name }, { signal, metadataOnly });
  } catch (error) {
    if (!isMissing(error)) throw error;
    throw new CommandError(`there is no ${type.kind} "${name}" in namespace "${namespace}"`, { cause: error });
  }
}
