/** Checks right before a write that its namespace is still served by this process: between the decision and the write lies time. */
import type { ApiClient } from '../kubernetes/client/api-client.ts';

/** Another replica serves the namespace: it sees the same state, and decides. */
export class NotServedError extends Error {
  readonly code = 'NotServed';
  override readonly name = 'NotServedError';
}

type Writes = Pick<ApiClient, 'apply' | 'create' | 'delete' | 'mergePatch' | 'replace' | 'strategicMergePatch'>;
export type OperatorClient = Writes & Pick<ApiClient, 'get' | 'list'>;

/** The same client, with writes that throw NotServedError where `mayWrite` says no. */
export function ownedClient(client: OperatorClient, mayWrite: (namespace: string) => boolean): OperatorClient {
  const check = (namespace = ''): void => {
    if (!mayWrite(namespace)) throw new NotServedError(`namespace "${namespace}" is served by another replica now`);
  };
  return {
    get: (type, ref, options) => client.get(type, ref, options),
    list: (type, selection, options) => client.list(type, selection, options),
    apply: async (type, object, options) => {
      check(object.metadata.namespace);
      return await client.apply(type, object, options);
    },
    create: async (type, object, options) => {
      check(object.metadata.namespace);
      return await client.create(type, object, options);
    },
    replace: async (type, object, options) => {
      check(object.metadata.namespace);
      return await client.replace(type, object, options);
    },
    delete: async (type, ref, options) => {
      check(ref.namespace);
      await client.delete(type, ref, options);
    },
    mergePatch: async (type, ref, patch, options) => {
      check(ref.namespace);
      return await client.mergePatch(type, ref, patch, options);
    },
    strategicMergePatch: async (type, ref, patch, options) => {
      check(ref.namespace);
      return await client.strategicMergePatch(type, ref, patch, options);
    },
  };
}
