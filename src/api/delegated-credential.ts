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
import { DNS_LABEL_PATTERN, DNS_SUBDOMAIN_PATTERN } from '../text/dns-name.ts';
import { INJECT_KEY, MANAGED_BY_LABEL, OWN_PREFIX } from './keys.ts';

export const API_VERSION = 'v1alpha1';
export const KIND = 'DelegatedCredential';

/** Leaves room for `<name>-<pod name>` and for the volume name `dcred-<name>` (63 characters at most, no dots). */
export const MAX_NAME_LENGTH = 40;
const DEFAULT_LIFETIME_SECONDS = 172_800;

const LIFETIME_MESSAGE = `lifetimeSeconds must be from ${MIN_LIFETIME_SECONDS} to ${MAX_LIFETIME_SECONDS} (seven days less one hour of clock skew); the default ${DEFAULT_LIFETIME_SECONDS} is two days`;
const RENEW_MESSAGE =
  'renewBeforeSeconds must be less than lifetimeSeconds; omit it to re-issue at half of the lifetime';

const MAX_ENTRIES = 32;
const MAX_KEY_LENGTH = 317; // a DNS name of 253, a slash, a name of 63
const MAX_LABEL_VALUE_LENGTH = 63;
const MAX_ANNOTATION_VALUE_LENGTH = 4096;

const MAX_PREFIX_LENGTH = 253;
/** A DNS name and a slash, or nothing; then a name. */
const QUALIFIED_KEY = `^(${DNS_SUBDOMAIN_PATTERN.slice(1, -1)}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`;
const isQualified = (key: string) =>
  `${key}.matches('${QUALIFIED_KEY}') && ${key}.indexOf('/') <= ${MAX_PREFIX_LENGTH}`;
const LABEL_VALUE = '^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$';

/** A CEL rule of the CRD and what the user reads when it fails. */
interface CelRule {
  readonly rule: string;
  readonly message: string;
}

/** Adds CEL rules to the CRD's schema of this field. */
function cel(...rules: readonly CelRule[]): { 'x-kubernetes-validations': readonly CelRule[] } {
  return { 'x-kubernetes-validations': rules };
}

const OWN_KEYS_MESSAGE = `${OWN_PREFIX}* and ${MANAGED_BY_LABEL} are set by dcred itself: remove them from secretTemplate`;
const KEY_MESSAGE =
  'every key must be a qualified name such as "team" or "example.com/team" (letters, digits, "-", "_", "."; at most 63 characters after the slash)';

const noOwnKeys: CelRule = {
  rule: `self.all(key, !key.startsWith('${OWN_PREFIX}') && key != '${MANAGED_BY_LABEL}')`,
  message: OWN_KEYS_MESSAGE,
};
const MAX_TEMPLATE_ANNOTATIONS = 8192;
const annotationSize: CelRule = {
  rule: `self.map(key, size(key) + size(self[key])).sum() <= ${MAX_TEMPLATE_ANNOTATIONS}`,
  message: `all annotations together must have at most ${MAX_TEMPLATE_ANNOTATIONS} characters, because every issued Secret carries them`,
};
const qualifiedKeys: CelRule = { rule: `self.all(key, ${isQualified('key')})`, message: KEY_MESSAGE };
const labelValues: CelRule = {
  rule: `self.all(key, size(self[key]) <= ${MAX_LABEL_VALUE_LENGTH} && self[key].matches('${LABEL_VALUE}'))`,
  message: `every label value must have at most ${MAX_LABEL_VALUE_LENGTH} letters, digits, "-", "_" or ".", and begin and end with a letter or digit`,
};

const secretName = z
  .string()
  .min(1)
  .max(253)
  .meta(
    cel({
      rule: `self.matches('${DNS_SUBDOMAIN_PATTERN}')`,
      message: 'must be the name of a Secret: lower-case letters, digits, "-" and ".", such as web-tls',
    }),
  );

const namespaceName = z
  .string()
  .min(1)
  .max(63)
  .meta(
    cel({
      rule: `self.matches('${DNS_LABEL_PATTERN}')`,
      message: 'must be the name of a namespace: lower-case letters, digits and "-", such as edge',
    }),
  );

const certificateRef = z
  .object({
    name: secretName.describe(
      'Name of the Secret with tls.crt (the leaf first, then its chain) and tls.key. The leaf must carry the DelegationUsage extension of RFC 9345.',
    ),
    namespace: namespaceName
      .optional()
      .describe(
        'Namespace of that Secret. Omitted: the namespace of this resource. Another namespace must have granted its use.',
      ),
  })
  .describe('The delegation certificate and its key.');

/** The longest map a selector or template may hold; bounded for CEL's cost budget. */
const stringMap = (maxValue: number) => z.record(z.string().max(MAX_KEY_LENGTH), z.string().max(maxValue));

const labelSelectorRequirement = z
  .object({
    key: z.string().min(1).max(MAX_KEY_LENGTH).describe('The label key that the requirement applies to.'),
    operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']).describe('How the label relates to the values.'),
    values: z
      .array(z.string().max(MAX_LABEL_VALUE_LENGTH))
      .max(MAX_ENTRIES)
      .optional()
      .describe('The values for In and NotIn. Exists and DoesNotExist take none.')
      .meta({ 'x-kubernetes-list-type': 'atomic' }),
  })
  .meta(
    cel(
      {
        rule: "!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)",
        message: 'In and NotIn need at least one entry in values; to require only that the label exists, use Exists',
      },
      {
        rule: "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || size(self.values) == 0",
        message: 'Exists and DoesNotExist take no values; to compare with values, use In or NotIn',
      },
      {
        rule: `!has(self.values) || self.values.all(value, value.matches('${LABEL_VALUE}'))`,
        message:
          'every entry of values must be a label value: letters, digits, "-", "_" or ".", beginning and ending with a letter or digit',
      },
      {
        rule: isQualified('self.key'),
        message: 'key must be a label key such as app or example.com/team',
      },
    ),
  );

const podSelector = z
  .object({
    matchLabels: stringMap(MAX_LABEL_VALUE_LENGTH)
      .optional()
      .describe('Labels that a pod must have, all of them.')
      .meta({ maxProperties: MAX_ENTRIES, ...cel(qualifiedKeys, labelValues) }),
    matchExpressions: z
      .array(labelSelectorRequirement)
      .max(MAX_ENTRIES)
      .optional()
      .describe('Further requirements, all of which must hold.')
      .meta({ 'x-kubernetes-list-type': 'atomic' }),
  })
  .describe(
    `Which pods of this namespace get a credential. Omitted: the pods labelled ${INJECT_KEY}=<name of this resource>. Empty: every pod of the namespace.`,
  )
  .meta({ 'x-kubernetes-map-type': 'atomic' });

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

const time = (description: string) => z.iso.datetime().optional().describe(description);
const count = (description: string) => z.int32().optional().describe(description);

/** Of each certificate; a leaf may have tens of thousands. */
export const MAX_STATUS_DNS_NAMES = 32;

const conditionSchema = z.object({
  type: z.string().min(1).max(316).describe('Type of the condition; Ready is the summary.'),
  status: z.enum(['True', 'False', 'Unknown']).describe('Status of the condition.'),
  reason: z.string().min(1).max(1024).describe('Machine-readable reason, one word.'),
  message: z.string().max(32768).describe('Human-readable message: what was found, and what to do.'),
  observedGeneration: z.int().optional().describe('The generation of the resource that the condition was set for.'),
  lastTransitionTime: z.iso.datetime().describe('When status last changed.'),
});

const certificateStatus = z
  .object({
    sha256: z.string().max(64).optional().describe('SHA-256 of the leaf, lower-case hex.'),
    subject: z.string().max(256).optional().describe("The leaf's subject."),
    dnsNames: z
      .array(z.string().max(256))
      .max(MAX_STATUS_DNS_NAMES)
      .optional()
      .describe("The leaf's first DNS names.")
      .meta({ 'x-kubernetes-list-type': 'atomic' }),
    dnsNamesOmitted: count('How many more DNS names the leaf has.'),
    notAfter: time('When the leaf expires. No credential outlives it.'),
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
    conditions: z
      .array(conditionSchema)
      .optional()
      .describe('The state in detail; Ready is the summary.')
      .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] }),
    certificate: certificateStatus.optional(),
    pods: podsStatus.optional(),
    earliestExpiryTime: time('When the first of the issued credentials expires.'),
    nextRenewalTime: time('When the next credential is due to be re-issued.'),
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
