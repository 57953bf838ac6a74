/** The CustomResourceDefinitions, made from the zod schemas of the resources. */

import { definition, type JsonSchema, type ResourceDefinition } from './custom-resource.ts';
import { KIND, RESOURCE_RULES, specSchema, statusSchema } from './delegated-credential.ts';
import { GRANT_KIND, GRANT_PLURAL, grantSpecSchema, grantStatusSchema } from './delegation-grant.ts';
import {
  CLUSTER_ISSUER_KIND,
  CLUSTER_ISSUER_PLURAL,
  clusterIssuerSpecSchema,
  ISSUER_KIND,
  ISSUER_PLURAL,
  issuerSpecSchema,
  issuerStatusSchema,
} from './delegation-issuer.ts';
import { DELEGATED_CREDENTIALS } from './resource-types.ts';

export const PLURAL = DELEGATED_CREDENTIALS.plural;

const DELEGATED_CREDENTIAL: ResourceDefinition = {
  kind: KIND,
  plural: PLURAL,
  shortName: 'dcred',
  categories: ['dcred'],
  description: 'Issues a TLS delegated credential (RFC 9345) to every selected pod, each into a Secret of its own.',
  spec: specSchema,
  status: statusSchema,
  rules: RESOURCE_RULES,
  selectableFields: ['.spec.certificateRef.name'],
  columns: [
    { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    { name: 'Reason', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].reason' },
    { name: 'Pods', type: 'integer', jsonPath: '.status.pods.selected', description: 'Selected pods' },
    { name: 'Issued', type: 'integer', jsonPath: '.status.pods.issued', description: 'Pods with a valid credential' },
    { name: 'Next renewal', type: 'string', jsonPath: '.status.nextRenewalTime' },
    { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
    { name: 'Leaf', type: 'string', jsonPath: '.status.certificate.name', priority: 1 },
    { name: 'Leaf expiry', type: 'string', jsonPath: '.status.certificate.notAfter', priority: 1 },
    { name: 'Earliest expiry', type: 'string', jsonPath: '.status.earliestExpiryTime', priority: 1 },
  ],
};

const DELEGATION_GRANT: ResourceDefinition = {
  kind: GRANT_KIND,
  plural: GRANT_PLURAL,
  shortName: 'dcgrant',
  categories: [],
  description: 'Permits other namespaces to get credentials of a certificate in this namespace.',
  spec: grantSpecSchema,
  status: grantStatusSchema,
  rules: [],
  selectableFields: ['.spec.certificateRef.name'],
  columns: [
    { name: 'Certificate', type: 'string', jsonPath: '.spec.certificateRef.name' },
    { name: 'Usages', type: 'string', jsonPath: '.spec.usages' },
    { name: 'Accepted', type: 'string', jsonPath: '.status.conditions[?(@.type=="Accepted")].status' },
    { name: 'Reason', type: 'string', jsonPath: '.status.conditions[?(@.type=="Accepted")].reason' },
    { name: 'Namespaces', type: 'integer', jsonPath: '.status.namespaces', description: 'Namespaces that use it' },
    { name: 'Pods', type: 'integer', jsonPath: '.status.pods', description: 'Pods with a credential issued under it' },
    { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
    { name: 'Max lifetime', type: 'integer', jsonPath: '.spec.maxLifetimeSeconds', priority: 1 },
    { name: 'Max pods', type: 'integer', jsonPath: '.spec.maxPods', priority: 1 },
    { name: 'On withdraw', type: 'string', jsonPath: '.spec.onWithdraw', priority: 1 },
  ],
};

const ISSUER: Omit<ResourceDefinition, 'kind' | 'plural' | 'shortName' | 'description' | 'spec'> = {
  categories: [],
  status: issuerStatusSchema,
  rules: [],
  selectableFields: [],
  columns: [
    { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
    { name: 'Reason', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].reason' },
    { name: 'CA', type: 'string', jsonPath: '.spec.ca.secretName' },
    { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
  ],
};

/** Of DelegatedCredential. */
export function customResourceDefinition(): JsonSchema {
  return definition(DELEGATED_CREDENTIAL);
}

/** Of DelegationGrant. */
export function grantDefinition(): JsonSchema {
  return definition(DELEGATION_GRANT);
}

/** Of DelegationIssuer. */
export function issuerDefinition(): JsonSchema {
  return definition({
    ...ISSUER,
    kind: ISSUER_KIND,
    plural: ISSUER_PLURAL,
    shortName: 'dcissuer',
    description: 'A CA that signs delegation certificates for the Certificates of cert-manager in this namespace.',
    spec: issuerSpecSchema,
  });
}

/** Of ClusterDelegationIssuer. */
export function clusterIssuerDefinition(): JsonSchema {
  return definition({
    ...ISSUER,
    kind: CLUSTER_ISSUER_KIND,
    plural: CLUSTER_ISSUER_PLURAL,
    scope: 'Cluster',
    shortName: 'dcclusterissuer',
    description: 'A CA that signs delegation certificates for the Certificates of cert-manager in every namespace.',
    spec: clusterIssuerSpecSchema,
  });
}
