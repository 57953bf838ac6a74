/** Reads what the cache has not kept of an issued Secret: see `extrasOmitted`. */
import { type IssuedSecret, readWholeIssuedSecret } from '../../issued-secret/issued-secret.ts';
import { isMissing } from '../../kubernetes/api-error.ts';
import type { ApiClient } from '../../kubernetes/client/api-client.ts';
import { SECRETS } from '../../kubernetes/resource-type.ts';
import { StaleCacheError } from '../pod-failure.ts';

/**
 * The same Secrets with their labels and annotations complete. Costs a GET for each one whose extras were omitted, and nothing
 * for all others.
 * @throws StaleCacheError where the cache is behind
 */
export async function wholeSecrets(
  secrets: readonly IssuedSecret[],
  client: Pick<ApiClient, 'get'>,
  signal: AbortSignal,
): Promise<readonly IssuedSecret[]> {
  if (secrets.every(({ extrasOmitted }) => extrasOmitted === undefined)) return secrets;
  return await Promise.all(
    secrets.map(async (secret) => (secret.extrasOmitted ? await readWhole(secret, client, signal) : secret)),
  );
}

async function readWhole(
  { name, namespace, resourceVersion, uid }: IssuedSecret,
  client: Pick<ApiClient, 'get'>,
  signal: AbortSignal,
): Promise<IssuedSecret> {
  try {
    const found = readWholeIssuedSecret(await client.get(SECRETS, { namespace, name }, { signal, metadataOnly: true }));
    if (found?.uid === uid && found.resourceVersion === resourceVersion) return found;
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  throw new StaleCacheError(`Secret "${name}" has changed since it was last seen`);
}
