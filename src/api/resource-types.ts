/** dcred's own kinds, as the API server's paths name them. Imports no schema, so that a program may name a kind without loading it. */
import { API_GROUP, API_VERSION } from './keys.ts';

const OWN = { group: API_GROUP, version: API_VERSION, namespaced: true } as const;

export const DELEGATED_CREDENTIALS = {
  ...OWN,
  plural: 'delegatedcredentials',
  kind: 'DelegatedCredential',
} as const;
export const DELEGATION_GRANTS = { ...OWN, plural: 'delegationgrants', kind: 'DelegationGrant' } as const;
export const DELEGATION_ISSUERS = { ...OWN, plural: 'delegationissuers', kind: 'DelegationIssuer' } as const;
export const CLUSTER_DELEGATION_ISSUERS = {
  ...OWN,
  namespaced: false,
  plural: 'clusterdelegationissuers',
  kind: 'ClusterDelegationIssuer',
} as const;
