/** The name of an issued Secret, and the keys that queues and caches use. Labels and annotations: `api/keys.ts`. */
import { createHash } from 'node:crypto';
import { isDnsSubdomain, MAX_DNS_SUBDOMAIN_LENGTH } from '../text/dns-name.ts';
import { trimEndWhile } from '../text/trim.ts';

export const MAX_SECRET_NAME_LENGTH = MAX_DNS_SUBDOMAIN_LENGTH;

const HASH_LENGTH = 10;

export function isSecretName(name: string): boolean {
  return isDnsSubdomain(name);
}

/** `<resource>-<pod>`; a name that is too long ends in a hash of the whole, so that two long names stay different. */
export function defaultSecretName(resourceName: string, pod: string): string {
  const name = `${resourceName}-${pod}`;
  if (name.length <= MAX_SECRET_NAME_LENGTH) return name;
  const hash = createHash('sha256').update(name).digest('hex').slice(0, HASH_LENGTH);
  const kept = trimEndWhile(
    name.slice(0, MAX_SECRET_NAME_LENGTH - HASH_LENGTH - 1),
    (character) => !/[a-z0-9]/.test(character),
  );
  return `${kept}-${hash}`;
}

/** One (resource, pod): what the pod queue carries. */
export interface PodKey {
  readonly namespace: string;
  readonly resourceName: string;
  readonly pod: string;
}

/** None of the three parts can hold a slash. Joined, as `namespacedKey` is: a template takes more memory for as long as it is a key. */
export function formatPodKey({ namespace, resourceName, pod }: PodKey): string {
  return [namespace, resourceName, pod].join('/');
}

export function parsePodKey(key: string): PodKey {
  const [namespace = '', resourceName = '', pod = ''] = key.split('/');
  return { namespace, resourceName, pod };
}

export interface ObjectKey {
  readonly namespace: string;
  readonly name: string;
}

export function formatObjectKey({ namespace, name }: ObjectKey): string {
  return [namespace, name].join('/');
}

export function parseObjectKey(key: string): ObjectKey {
  const [namespace = '', name = ''] = key.split('/');
  return { namespace, name };
}
