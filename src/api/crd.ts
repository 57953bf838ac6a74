/** The CustomResourceDefinition, made from the zod schema in `delegated-credential.ts`. */
import * as z from 'zod';
import { API_VERSION, KIND, RESOURCE_RULES, specSchema, statusSchema } from './delegated-credential.ts';
import { API_GROUP } from './keys.ts';

export const PLURAL = 'delegatedcredentials';

type JsonSchema = Record<string, unknown>;

/** Columns with priority 1 show under `-o wide`. Times in the future are strings: kubectl prints a date column as an age. */
const PRINTER_COLUMNS = [
  { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
  { name: 'Reason', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].reason' },
  { name: 'Pods', type: 'integer', jsonPath: '.status.pods.selected', description: 'Selected pods' },
  { name: 'Issued', type: 'integer', jsonPath: '.status.pods.issued', description: 'Pods with a valid credential' },
  { name: 'Next renewal', type: 'string', jsonPath: '.status.nextRenewalTime' },
  { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' },
  { name: 'Leaf', type: 'string', jsonPath: '.status.certificate.subject', priority: 1 },
  { name: 'Leaf expiry', type: 'string', jsonPath: '.status.certificate.notAfter', priority: 1 },
  { name: 'Earliest expiry', type: 'string', jsonPath: '.status.earliestExpiryTime', priority: 1 },
] as const;

/** The CRD as an object, ready to be printed as YAML or sent to an API server. */
export function customResourceDefinition(): JsonSchema {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${PLURAL}.${API_GROUP}` },
    spec: {
      group: API_GROUP,
      scope: 'Namespaced',
      names: {
        kind: KIND,
        listKind: `${KIND}List`,
        plural: PLURAL,
        singular: KIND.toLowerCase(),
        shortNames: ['dcred'],
        categories: ['dcred'],
      },
      versions: [
        {
          name: API_VERSION,
          served: true,
          storage: true,
          subresources: { status: {} },
          selectableFields: [{ jsonPath: '.spec.certificateRef.name' }],
          additionalPrinterColumns: PRINTER_COLUMNS,
          schema: { openAPIV3Schema: resourceSchema() },
        },
      ],
    },
  };
}

function resourceSchema(): JsonSchema {
  return {
    type: 'object',
    description: 'Issues a TLS delegated credential (RFC 9345) to every selected pod, each into a Secret of its own.',
    required: ['spec'],
    'x-kubernetes-validations': RESOURCE_RULES,
    properties: {
      apiVersion: { type: 'string', description: `The version of this schema: ${API_GROUP}/${API_VERSION}.` },
      kind: { type: 'string', description: `${KIND}.` },
      metadata: { type: 'object' },
      spec: structural(z.toJSONSchema(specSchema, { target: 'openapi-3.0', io: 'input' })),
      status: structural(z.toJSONSchema(statusSchema, { target: 'openapi-3.0', io: 'input' })),
    },
  };
}

/** Turns zod's output into a structural schema: integers with a format instead of bounds, times with a format alone. */
function structural(node: unknown): JsonSchema {
  return tidy(node) as JsonSchema;
}

function tidy(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(tidy);
  if (typeof node !== 'object' || node === null) return node;
  const entries = Object.entries(node).map(([key, value]) => [key, tidy(value)] as const);
  const schema: JsonSchema = Object.fromEntries(entries);
  if (schema['type'] === 'integer') return withoutBounds(schema);
  if (schema['format'] === 'date-time') delete schema['pattern'];
  return schema;
}

/** zod bounds every integer by the range of its type; the API server takes that from the format. */
function withoutBounds(schema: JsonSchema): JsonSchema {
  const { minimum, maximum: _maximum, ...rest } = schema;
  return { ...rest, format: minimum === -(2 ** 31) ? 'int32' : 'int64' };
}
