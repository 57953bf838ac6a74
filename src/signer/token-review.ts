/** TokenReview: asks the signer's own API server whose a service account token is. */
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { ResourceType } from '../kubernetes/resource-type.ts';
import type { ReviewToken } from './authentication.ts';

const TOKEN_REVIEWS = {
  group: 'authentication.k8s.io',
  version: 'v1',
  plural: 'tokenreviews',
  kind: 'TokenReview',
  namespaced: false,
} as const satisfies ResourceType;

interface TokenReview {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly user?: { readonly username?: string };
    readonly audiences?: readonly string[];
  };
}

/** Needs `create` of tokenreviews, as ClusterRole system:auth-delegator has it. */
export function tokenReviewer(client: ApiClient): ReviewToken {
  return async (token, audience, signal) => {
    const review = { metadata: {}, spec: { token, audiences: [audience] } };
    const { status } = await client.create<TokenReview>(TOKEN_REVIEWS, review, { signal });
    // An API server that knows no audiences answers without them: its yes is no yes for ours.
    if (status?.authenticated !== true || status.audiences?.includes(audience) !== true) return undefined;
    return status.user?.username;
  };
}
