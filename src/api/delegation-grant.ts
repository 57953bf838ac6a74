/**
 * The DelegationGrant resource: in the namespace of a certificate, its owner says who else may have credentials of it. The source
 * of the types, of the validation at run time and of the CRD, as `delegated-credential.ts` is for its resource.
 *
 * A grant never says more than its owner wrote: what the schema does not know, or an older CRD let pass, makes the whole grant
 * void (`read-grant.ts`).
 */

import * as z from 'zod';
import { MAX_LIFETIME_SECONDS, MIN_LIFETIME_SECONDS } from '../credential/lifetime.ts';
import { USAGES } from '../credential/scheme.ts';
import { DELEGATION_GRANTS } from './resource-types.ts';
import { cel, clusterName, conditions, count, labelSelector, namespaceName, secretName } from './schema-parts.ts';

export const GRANT_KIND = DELEGATION_GRANTS.kind;
export const GRANT_PLURAL = DELEGATION_GRANTS.plural;

/** Of `from`, and of a selector in it: CEL's cost grows with their product. */
const MAX_FROM = 32;
const MAX_SELECTOR_ENTRIES = 8;
/** Of `status.users`. */
export const MAX_USERS = 32;

const ONE_OF_MESSAGE =
  'every entry of from needs exactly one of namespace, namespaceSelector and cluster; write one entry for each of them';
const UID_MESSAGE = 'uid needs namespace beside it: the name of the namespace with this uid';
const LIFETIME_MESSAGE = `maxLifetimeSeconds must be from ${MIN_LIFETIME_SECONDS} to ${MAX_LIFETIME_SECONDS} (seven days less one hour of clock skew); omit it to set no limit`;
const PODS_MESSAGE = 'maxPods must be at least 1; omit it to set no limit, or remove the grant';

const fromEntry = z
  .object({
    namespace: namespaceName.optional().describe('The namespace of this name, in this cluster.'),
    uid: z
      .string()
      .min(1)
      .max(64)
      .optional()
      .describe(
        'Beside namespace: only the namespace with this uid, not one that is re-created later under the same name.',
      ),
    namespaceSelector: labelSelector('namespace', MAX_SELECTOR_ENTRIES)
      .optional()
      .describe('The namespaces of this cluster with these labels. Empty: all of them.'),
    cluster: clusterName
      .optional()
      .describe('Every namespace of another cluster, by the name that the signer knows it by.'),
  })
  .refine((from) => [from.namespace, from.namespaceSelector, from.cluster].filter(isSet).length === 1, ONE_OF_MESSAGE)
  .refine((from) => from.uid === undefined || from.namespace !== undefined, UID_MESSAGE)
  .meta(
    cel(
      {
        // A reserved word of CEL, which only newer API servers take unescaped.
        rule: '[has(self.__namespace__), has(self.namespaceSelector), has(self.cluster)].filter(set, set).size() == 1',
        message: ONE_OF_MESSAGE,
      },
      { rule: '!has(self.uid) || has(self.__namespace__)', message: UID_MESSAGE },
    ),
  );

function isSet(value: unknown): boolean {
  return value !== undefined;
}

export const grantSpecSchema = z
  .object({
    certificateRef: z
      .object({
        name: secretName.describe(
          'Name of the Secret with the certificate and its key, in the namespace of this grant.',
        ),
      })
      .describe('The certificate that is granted.'),
    from: z
      .array(fromEntry)
      .min(1)
      .max(MAX_FROM)
      .describe('Who may get credentials of it: any of these.')
      .meta({ 'x-kubernetes-list-type': 'atomic' }),
    usages: z
      .array(z.enum(USAGES))
      .min(1)
      .max(USAGES.length)
      .default(['Server'])
      .describe('For which usage. Omitted: Server only.')
      .meta({ 'x-kubernetes-list-type': 'set' }),
    maxLifetimeSeconds: z
      .int32()
      .refine((seconds) => seconds >= MIN_LIFETIME_SECONDS && seconds <= MAX_LIFETIME_SECONDS, LIFETIME_MESSAGE)
      .optional()
      .describe(
        "The longest lifetime of a credential, in seconds. The DelegatedCredential's own counts where it is shorter.",
      )
      .meta(
        cel({
          rule: `self >= ${MIN_LIFETIME_SECONDS} && self <= ${MAX_LIFETIME_SECONDS}`,
          message: LIFETIME_MESSAGE,
        }),
      ),
    maxPods: z
      .int32()
      .refine((pods) => pods >= 1, PODS_MESSAGE)
      .optional()
      .describe('How many pods of one DelegatedCredential may have a credential. Omitted: any number.')
      .meta(cel({ rule: 'self >= 1', message: PODS_MESSAGE })),
    onWithdraw: z
      .enum(['Keep', 'Delete'])
      .default('Keep')
      .describe(
        'What becomes of issued Secrets when the grant no longer covers them. Keep: they stay, and are not re-issued. Delete: they are deleted.',
      ),
  })
  .describe('Who may get credentials of a certificate, and on which terms.');

export const grantStatusSchema = z
  .object({
    observedGeneration: z.int().optional().describe('The generation of the grant that this status was computed for.'),
    conditions: conditions(
      'Accepted: whether the grant is in force. CertificateUsable: present while the certificate cannot be used, with the reason.',
    ),
    namespaces: count('How many namespaces use the grant.'),
    pods: count('How many pods have a credential issued under it.'),
    users: z
      .array(
        z.object({
          namespace: z.string().max(63).describe('A namespace that uses the grant.'),
          pods: z.int32().describe('How many of its pods have a credential issued under the grant.'),
        }),
      )
      .max(MAX_USERS)
      .optional()
      .describe(`Who uses the grant: the first ${MAX_USERS} namespaces by name.`)
      .meta({ 'x-kubernetes-list-type': 'atomic' }),
  })
  .describe('Observed state; written by the operator.');

type DelegationGrantSpec = Readonly<z.output<typeof grantSpecSchema>>;
export type DelegationGrantStatus = Readonly<z.output<typeof grantStatusSchema>>;
export type GrantFrom = DelegationGrantSpec['from'][number];

/** The object as the API server serves it; `spec` is parsed, so that defaults hold even where the API server set none. */
export interface DelegationGrantResource {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly generation: number;
    readonly resourceVersion: string;
  };
  readonly spec: DelegationGrantSpec;
  readonly status: DelegationGrantStatus;
}
