/** TokenReview: asks the API server whose a bearer token is. */
import type { ResourceType } from '../resource-type.ts';
import type { ApiClient } from './api-client.ts';

const TOKEN_REVIEWS = {
  group: 'authentication.k8s.io',
  version: 'v1',
  plural: 'tokenreviews',
  kind: 'TokenReview',
  namespaced: false,
} as const satisfies ResourceType;

export interface ReviewedUser {
  readonly username?: string;
  readonly uid?: string;
  readonly groups?: readonly string[];
}

interface TokenReview {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly audiences?: readonly string[];
    readonly user?: ReviewedUser;
  };
}

/**
 * The user of a token that was made for this audience; undefined for any other token. Needs `create` of tokenreviews, as ClusterRole
 * system:auth-delegator has it. Throws ApiError.
 */
export async function reviewToken(
  client: Pick<ApiClient, 'create'>,
  token: string,
  audience: string,
  signal: AbortSignal,
): Promise<ReviewedUser | undefined> {
  const review = { metadata: {}, spec: { token, audiences: [audience] } };
  const { status } = await client.create<TokenReview>(TOKEN_REVIEWS, review, { signal });
  // An authenticator that knows no audiences returns none: its tokens are for the API server, and its yes is no yes for ours.
  if (status?.authenticated !== true || status.audiences?.includes(audience) !== true) return undefined;
  return status.user ?? {};
}
