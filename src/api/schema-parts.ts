/**
 * What the schemas of several resources share. Bounds on sizes keep CEL within its cost budget; a CEL rule carries its own
 * message.
 */
import * as z from 'zod';
import { DNS_LABEL_PATTERN, DNS_SUBDOMAIN_PATTERN } from '../text/dns-name.ts';

/** What is read of an object's metadata, as the API server serves it. */
export const objectMetadata = z.object({
  name: z.string(),
  namespace: z.string(),
  uid: z.string(),
  generation: z.int().default(0),
  resourceVersion: z.string(),
});

/** A CEL rule of a CRD and what the user reads when it fails. */
export interface CelRule {
  readonly rule: string;
  readonly message: string;
}

/** Adds CEL rules to the CRD's schema of this field. */
export function cel(...rules: readonly CelRule[]): { 'x-kubernetes-validations': readonly CelRule[] } {
  return { 'x-kubernetes-validations': rules };
}

/** The longest map or list of a selector. */
export const MAX_ENTRIES = 32;
export const MAX_LABEL_VALUE_LENGTH = 63;
const MAX_KEY_LENGTH = 317; // a DNS name of 253, a slash, a name of 63
const MAX_PREFIX_LENGTH = 253;

/** A DNS name and a slash, or nothing; then a name. */
const QUALIFIED_KEY = `^(${DNS_SUBDOMAIN_PATTERN.slice(1, -1)}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`;
const isQualified = (key: string) =>
  `${key}.matches('${QUALIFIED_KEY}') && ${key}.indexOf('/') <= ${MAX_PREFIX_LENGTH}`;
const LABEL_VALUE = '^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$';

const KEY_MESSAGE =
  'every key must be a qualified name such as "team" or "example.com/team" (letters, digits, "-", "_", "."; at most 63 characters after the slash)';

export const qualifiedKeys: CelRule = { rule: `self.all(key, ${isQualified('key')})`, message: KEY_MESSAGE };
export const labelValues: CelRule = {
  rule: `self.all(key, size(self[key]) <= ${MAX_LABEL_VALUE_LENGTH} && self[key].matches('${LABEL_VALUE}'))`,
  message: `every label value must have at most ${MAX_LABEL_VALUE_LENGTH} letters, digits, "-", "_" or ".", and begin and end with a letter or digit`,
};

/** A DNS subdomain. `what` and `example` are for the message. */
function subdomain(what: string, example: string) {
  const message = `must be the name of ${what}: lower-case letters, digits, "-" and ".", such as ${example}`;
  return z
    .string()
    .min(1)
    .max(253)
    .meta(cel({ rule: `self.matches('${DNS_SUBDOMAIN_PATTERN}')`, message }));
}

export const secretName = subdomain('a Secret', 'web-tls');
export const clusterName = subdomain('a cluster', 'eu-west');

export const namespaceName = z
  .string()
  .min(1)
  .max(63)
  .meta(
    cel({
      rule: `self.matches('${DNS_LABEL_PATTERN}')`,
      message: 'must be the name of a namespace: lower-case letters, digits and "-", such as edge',
    }),
  );

export const stringMap = (maxValue: number) => z.record(z.string().max(MAX_KEY_LENGTH), z.string().max(maxValue));

const requirement = (maxEntries: number) =>
  z
    .object({
      key: z.string().min(1).max(MAX_KEY_LENGTH).describe('The label key that the requirement applies to.'),
      operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']).describe('How the label relates to the values.'),
      values: z
        .array(z.string().max(MAX_LABEL_VALUE_LENGTH))
        .max(maxEntries)
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

/** A LabelSelector of meta/v1. @param what it selects, in the singular: `pod` */
export function labelSelector(what: string, maxEntries: number) {
  return z
    .object({
      matchLabels: stringMap(MAX_LABEL_VALUE_LENGTH)
        .optional()
        .describe(`Labels that a ${what} must have, all of them.`)
        .meta({ maxProperties: maxEntries, ...cel(qualifiedKeys, labelValues) }),
      matchExpressions: z
        .array(requirement(maxEntries))
        .max(maxEntries)
        .optional()
        .describe('Further requirements, all of which must hold.')
        .meta({ 'x-kubernetes-list-type': 'atomic' }),
    })
    .meta({ 'x-kubernetes-map-type': 'atomic' });
}

/** The API server takes any offset, and not every client writes `Z`. */
const dateTime = z.iso.datetime({ offset: true });

export const timestamp = (description: string) => dateTime.optional().describe(description);
export const count = (description: string) => z.int32().optional().describe(description);

const condition = z.object({
  type: z.string().min(1).max(316).describe('Type of the condition.'),
  status: z.enum(['True', 'False', 'Unknown']).describe('Status of the condition.'),
  reason: z.string().min(1).max(1024).describe('Machine-readable reason, one word.'),
  message: z.string().max(32768).describe('Human-readable message: what was found, and what to do.'),
  observedGeneration: z.int().optional().describe('The generation of the resource that the condition was set for.'),
  lastTransitionTime: dateTime.describe('When status last changed.'),
});

export const conditions = (description: string) =>
  z
    .array(condition)
    .optional()
    .describe(description)
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] });
