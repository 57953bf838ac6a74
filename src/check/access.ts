/** Asks the API server what an account may do, without doing it. */
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { ResourceType } from '../kubernetes/resource-type.ts';
import type { Permission } from './permissions.ts';

const AUTHORIZATION = { group: 'authorization.k8s.io', version: 'v1', namespaced: false } as const;
const SELF_REVIEWS = {
  ...AUTHORIZATION,
  plural: 'selfsubjectaccessreviews',
  kind: 'SelfSubjectAccessReview',
} as const satisfies ResourceType;
const REVIEWS = {
  ...AUTHORIZATION,
  plural: 'subjectaccessreviews',
  kind: 'SubjectAccessReview',
} as const satisfies ResourceType;

export interface ServiceAccount {
  readonly namespace: string;
  readonly name: string;
}

interface Review {
  readonly status?: { readonly allowed?: boolean };
}

type Client = Pick<ApiClient, 'create'>;

/** Those of the permissions that are refused. `account` undefined: mine. Throws ApiError: Forbidden where I may not ask. */
export async function refusedOf(
  client: Client,
  wanted: readonly Permission[],
  { account, namespace }: { readonly account?: ServiceAccount; readonly namespace: string | undefined },
  signal: AbortSignal,
): Promise<readonly Permission[]> {
  const answers = await Promise.all(
    wanted.map(async (permission) =>
      (await allowed(client, permission, account, namespace, signal)) ? [] : permission,
    ),
  );
  return answers.flat();
}

async function allowed(
  client: Client,
  permission: Permission,
  account: ServiceAccount | undefined,
  namespace: string | undefined,
  signal: AbortSignal,
): Promise<boolean> {
  const spec = { ...(account !== undefined && subject(account)), resourceAttributes: { ...permission, namespace } };
  const type = account === undefined ? SELF_REVIEWS : REVIEWS;
  const review = { metadata: {}, spec };
  const { status } = await client.create<Review>(type, review, { signal });
  return status?.allowed === true;
}

/** As the API server sees a request with a token of this account. */
function subject({ name, namespace }: ServiceAccount) {
  const groups = ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'];
  return { user: `system:serviceaccount:${namespace}:${name}`, groups };
}
