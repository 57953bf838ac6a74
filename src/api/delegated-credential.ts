/**
 * The DelegatedCredential resource. This zod schema is the one source of truth: the TypeScript types, the validation at run
 * time and the CRD (`crd.ts`) all come from it.
 *
 * Rules that a user can break are CEL rules beside the field that they guard, because a CEL rule carries its own message. Bounds
 * on sizes keep CEL within its cost budget. The two rules that the schedule relies on are repeated for the run time (`refine`,
 * which the CRD leaves out): an older CRD may have let an object pass.
 */

import * as z from 'zod';
import { MAX_LIFETIME_SECONDS, MIN_LIFETIME_SECONDS } from '../credential/lifetime.ts';
import { KEY_ALGORITHMS, USAGES } from '../credential/scheme.ts';
import { INJECT_KEY, MANAGED_BY_LABEL, OWN_PREFIX } from './keys.ts';
import { DELEGATED_CREDENTIALS } from './resource-types.ts';
import {
  type CelRule,
  cel,
  conditions,
  count,
  labelSelector,
  labelValues,
  MAX_ENTRIES,
  MAX_LABEL_VALUE_LENGTH,
  namespaceName,
  qualifiedKeys,
  secretName,
  stringMap,
  timestamp,
} from './schema-parts.ts';

export const KIND = DELEGATED_CREDENTIALS.kind;

/** Leaves room for `<name>-<pod name>` and for the volume name `dcred-<name>` (63 characters at most, no dots). */
export const MAX_NAME_LENGTH = 40;
export const DEFAULT_LIFETIME_SECONDS = 172_800;

const LIFETIME_MESSAGE = `lifetimeSeconds must be from ${MIN_LIFETIME_SECONDS} to ${MAX_LIFETIME_SECONDS} (seven days less one hour of clock skew); the default ${DEFAULT_LIFETIME_SECONDS} is two days`;
const RENEW_MESSAGE =
  'renewBeforeSeconds must be less than lifetimeSeconds; omit it to re-issue at half of the lifetime';

const MAX_ANNOTATION_VALUE_LENGTH = 4096;

const OWN_KEYS_MESSAGE = `${OWN_PREFIX}* and ${MANAGED_BY_LABEL} are set by dcred itself: remove them from secretTemplate`;
const noOwnKeys: CelRule = {
  rule: `self.all(key, !key.startsWith('${OWN_PREFIX}') && key != '${MANAGED_BY_LABEL}')`,
  message: OWN_KEYS_MESSAGE,
};
const MAX_TEMPLATE_ANNOTATIONS = 8192;
const annotationSize: CelRule = {
  rule: `self.map(key, size(key) + size(self[key])).sum() <= ${MAX_TEMPLATE_ANNOTATIONS}`,
  message: `all annotations together must have at most ${MAX_TEMPLATE_ANNOTATIONS} characters, because every issued Secret carries them`,
};

const certificateRef = z
  .object({
    name: secretName.describe(
      'Name of the Secret with tls.crt (the leaf first, then its chain) and tls.key. The leaf must carry the DelegationUsage extension of RFC 9345.',
    ),
    namespace: namespaceName
      .optional()
      .describe(
        'Namespace of that Secret. Omitted: the namespace of this resource. Another namespace must have granted its use by a DelegationGrant.',
      ),
  })
  .describe('The delegation certificate and its key.');

const podSelector = labelSelector('pod', MAX_ENTRIES).describe(
  `Which pods of this namespace get a credential. Omitted: the pods labelled ${INJECT_KEY}=<name of this resource>. Empty: every pod of the namespace.`,
);

const secretTemplate = z
  .object({
    labels: stringMap(MAX_LABEL_VALUE_LENGTH)
      .optional()
      .describe('Labels to add to every issued Secret.')
      .meta({ maxProperties: MAX_ENTRIES, ...cel(qualifiedKeys, labelValues, noOwnKeys) }),
    annotations: stringMap(MAX_ANNOTATION_VALUE_LENGTH)
      .optional()
      .describe('Annotations to add to every issued Secret.')
      .meta({ maxProperties: MAX_ENTRIES, ...cel(qualifiedKeys, noOwnKeys, annotationSize) }),
  })
  .describe('Metadata added to every issued Secret.');

export const specSchema = z
  .object({
    certificateRef,
    podSelector: podSelector.optional(),
    usage: z
      .enum(USAGES)
      .default('Server')
      .describe('Whether the pods are TLS servers or TLS clients. It is part of what is signed.'),
    keyAlgorithm: z
      .enum(KEY_ALGORITHMS)
      .default('ECDSAP256')
      .describe(
        'Algorithm of the pod keys. Firefox falls back to the ordinary certificate for Ed25519; Fizz reads P-256 only.',
      ),
    lifetimeSeconds: z
      .int32()
      .refine((seconds) => seconds >= MIN_LIFETIME_SECONDS && seconds <= MAX_LIFETIME_SECONDS, LIFETIME_MESSAGE)
      .default(DEFAULT_LIFETIME_SECONDS)
      .describe('How long a credential is valid, in seconds; shorter where the certificate expires first.')
      .meta(
        cel({
          rule: `self >= ${MIN_LIFETIME_SECONDS} && self <= ${MAX_LIFETIME_SECONDS}`,
          message: LIFETIME_MESSAGE,
        }),
      ),
    renewBeforeSeconds: z
      .int32()
      .optional()
      .describe('How long before its expiry a credential is re-issued, in seconds. Omitted: half of its lifetime.')
      .meta(
        cel({
          rule: 'self >= 1',
          message: 'renewBeforeSeconds must be at least 1; omit it to re-issue at half of the lifetime',
        }),
      ),
    secretTemplate: secretTemplate.optional(),
    suspend: z.boolean().default(false).describe('If true, nothing is issued, re-issued or deleted for this resource.'),
  })
  .refine(({ renewBeforeSeconds, lifetimeSeconds }) => (renewBeforeSeconds ?? 0) < lifetimeSeconds, RENEW_MESSAGE)
  .describe('What to issue, and to which pods.')
  .meta(
    cel({
      rule: '!has(self.renewBeforeSeconds) || self.renewBeforeSeconds < self.lifetimeSeconds',
      message: RENEW_MESSAGE,
    }),
  );

/** Of each certificate; a leaf may have tens of thousands. */
export const MAX_STATUS_DNS_NAMES = 32;

const certificateStatus = z
  .object({
    sha256: z.string().max(64).optional().describe('SHA-256 of the leaf, lower-case hex.'),
    name: z
      .string()
      .max(256)
      .optional()
      .describe('Name of the leaf: its subject, or its first DNS name where the subject is empty.'),
    subject: z.string().max(256).optional().describe("The leaf's subject."),
    dnsNames: z
      .array(z.string().max(256))
      .max(MAX_STATUS_DNS_NAMES)
      .optional()
      .describe("The leaf's first DNS names.")
      .meta({ 'x-kubernetes-list-type': 'atomic' }),
    dnsNamesOmitted: count('How many more DNS names the leaf has.'),
    notAfter: timestamp('When the leaf expires. No credential outlives it.'),
    keyAlgorithm: z.string().max(64).optional().describe("The algorithm of the leaf's key."),
  })
  .describe('The delegation certificate that credentials are issued from.');

const podsStatus = z
  .object({
    selected: count('Selected pods.'),
    issued: count('Selected pods with a valid credential of the current certificate.'),
    failed: count('Selected pods that cannot be served; their Events say why.'),
  })
  .describe('Counts of pods.');

export const statusSchema = z
  .object({
    observedGeneration: z
      .int()
      .optional()
      .describe('The generation of the resource that this status was computed for.'),
    conditions: conditions('The state in detail; Ready is the summary.'),
    certificate: certificateStatus.optional(),
    pods: podsStatus.optional(),
    reissue: z
      .object({
        updated: z.int32().describe('How many pods hold a credential of the new certificate.'),
        total: z.int32().describe('How many pods are selected.'),
        startTime: timestamp('When the new certificate was first seen.'),
      })
      .optional()
      .describe('Present while all credentials are re-issued because the certificate has changed.'),
    lifetimeSeconds: count(
      'How long credentials issued under a DelegationGrant are valid: the smaller of its maxLifetimeSeconds and spec.lifetimeSeconds.',
    ),
    earliestExpiryTime: timestamp('When the first of the issued credentials expires.'),
    nextRenewalTime: timestamp('When the next credential is due to be re-issued.'),
  })
  .describe('Observed state; written by the operator.');

export type DelegatedCredentialSpec = Readonly<z.output<typeof specSchema>>;
export type DelegatedCredentialStatus = Readonly<z.output<typeof statusSchema>>;
export type PodSelector = NonNullable<DelegatedCredentialSpec['podSelector']>;

/** The rules on the resource as a whole. */
export const RESOURCE_RULES: readonly CelRule[] = [
  {
    rule: `size(self.metadata.name) <= ${MAX_NAME_LENGTH}`,
    message: `the name of a DelegatedCredential must have at most ${MAX_NAME_LENGTH} characters, because names of Secrets and volumes are made from it`,
  },
  {
    rule: "!self.metadata.name.contains('.')",
    message: 'the name of a DelegatedCredential must not contain ".", because a volume is named after it; use "-"',
  },
];

/** The object as the API server serves it; `spec` is parsed, so that defaults hold even where the API server set none. */
export interface DelegatedCredentialResource {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly generation: number;
    readonly resourceVersion: string;
    /** Of `dcred.dev/renew-requested-at`, in seconds since the epoch; NaN for text that is not a time. */
    readonly renewRequestedAt?: number;
  };
  readonly spec: DelegatedCredentialSpec;
  readonly status: DelegatedCredentialStatus;
}
