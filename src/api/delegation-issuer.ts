/**
 * DelegationIssuer and ClusterDelegationIssuer: a CA that signs delegation certificates for cert-manager. The source of the types, of the
 * validation at run time and of the CRDs.
 *
 * A CA key that is not in a Secret is named by the configuration of `dcred issuer`, and only a cluster-wide issuer may refer to it: else
 * whoever can create a DelegationIssuer in a namespace would sign with it.
 */

import * as z from 'zod';
import { DNS_SUBDOMAIN_PATTERN } from '../text/dns-name.ts';
import { CLUSTER_DELEGATION_ISSUERS, DELEGATION_ISSUERS } from './resource-types.ts';
import { cel, conditions, secretName } from './schema-parts.ts';

export const ISSUER_KIND = DELEGATION_ISSUERS.kind;
export const ISSUER_PLURAL = DELEGATION_ISSUERS.plural;
export const CLUSTER_ISSUER_KIND = CLUSTER_DELEGATION_ISSUERS.kind;
export const CLUSTER_ISSUER_PLURAL = CLUSTER_DELEGATION_ISSUERS.plural;

const MAX_DNS_NAMES = 64;
const HOUR = 3_600;
/** What browsers accept of a server's certificate. */
const MAX_DURATION = 397 * 24 * HOUR;
const DURATION_MESSAGE = `maxDurationSeconds must be from ${HOUR} to ${MAX_DURATION} (397 days)`;

const allowedName = z
  .string()
  .min(1)
  .max(255)
  .meta(
    cel({
      rule: `self.matches('^([*][.]|[.])?${DNS_SUBDOMAIN_PATTERN.slice(1)}')`,
      message:
        'must be a DNS name such as web.example, *.web.example (one label more), or .web.example (any number of labels more)',
    }),
  );

const shared = {
  dnsNames: z
    .array(allowedName)
    .min(1)
    .max(MAX_DNS_NAMES)
    .optional()
    .describe('The DNS names that certificates may have. Omitted: any name of an approved request.')
    .meta({ 'x-kubernetes-list-type': 'atomic' }),
  maxDurationSeconds: z
    .int32()
    .refine((seconds) => seconds >= HOUR && seconds <= MAX_DURATION, DURATION_MESSAGE)
    .default(90 * 24 * HOUR)
    .describe('The longest life of a certificate, in seconds. A shorter life that a request asks for is honoured.')
    .meta(cel({ rule: `self >= ${HOUR} && self <= ${MAX_DURATION}`, message: DURATION_MESSAGE })),
};

const secretReference = secretName.describe(
  'Name of the Secret with the CA: its certificate and chain in tls.crt, its key in tls.key.',
);

export const issuerSpecSchema = z
  .object({ ca: z.object({ secretName: secretReference }).describe('The CA that signs.'), ...shared })
  .describe('A CA that signs delegation certificates for this namespace.');

export const clusterIssuerSpecSchema = z
  .object({
    ca: z
      .object({
        secretName: secretReference,
        keyName: z
          .string()
          .min(1)
          .max(63)
          .optional()
          .describe('In place of tls.key: a key that "dcred issuer --ca-key NAME=URI" names.'),
      })
      .describe('The CA that signs. Its Secret is in the namespace of dcred issuer.'),
    ...shared,
  })
  .describe('A CA that signs delegation certificates for every namespace.');

export const issuerStatusSchema = z
  .object({ conditions: conditions('Ready: whether the CA can sign.') })
  .describe('Observed state; written by dcred issuer.');

/** Both kinds. */
export interface IssuerSpec {
  readonly ca: { readonly secretName: string; readonly keyName?: string | undefined };
  readonly dnsNames?: readonly string[] | undefined;
  readonly maxDurationSeconds: number;
}
