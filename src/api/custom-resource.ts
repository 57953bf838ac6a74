/** Makes a CustomResourceDefinition of a resource's zod schemas. */
import * as z from 'zod';
import { API_GROUP, API_VERSION } from './keys.ts';
import type { CelRule } from './schema-parts.ts';

export type JsonSchema = Record<string, unknown>;

interface PrinterColumn {
  readonly name: string;
  readonly type: 'string' | 'integer' | 'date';
  readonly jsonPath: string;
  readonly description?: string;
  /** 1: shown under `-o wide`. */
  readonly priority?: 0 | 1;
}

export interface ResourceDefinition {
  readonly kind: string;
  readonly plural: string;
  /** Default: Namespaced. */
  readonly scope?: 'Namespaced' | 'Cluster';
  readonly shortName: string;
  readonly categories: readonly string[];
  readonly description: string;
  readonly spec: z.ZodType;
  readonly status: z.ZodType;
  /** On the resource as a whole. */
  readonly rules: readonly CelRule[];
  /** Times in the future are strings: kubectl prints a date column as an age. */
  readonly columns: readonly PrinterColumn[];
  readonly selectableFields: readonly string[];
}

/** The CRD as an object, ready to be printed as YAML or sent to an API server. */
export function definition(resource: ResourceDefinition): JsonSchema {
  const { categories, columns, kind, plural, scope = 'Namespaced', selectableFields, shortName } = resource;
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `${plural}.${API_GROUP}` },
    spec: {
      group: API_GROUP,
      scope,
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        shortNames: [shortName],
        // A category that several kinds share hides the short name of the same word: kubectl takes "dcred web" for two kinds then.
        ...(categories.length > 0 && { categories }),
      },
      versions: [
        {
          name: API_VERSION,
          served: true,
          storage: true,
          subresources: { status: {} },
          // The API server drops an empty list, and server-side apply then takes the two for different.
          ...(selectableFields.length > 0 && { selectableFields: selectableFields.map((jsonPath) => ({ jsonPath })) }),
          additionalPrinterColumns: columns,
          schema: { openAPIV3Schema: resourceSchema(resource) },
        },
      ],
    },
  };
}

function resourceSchema({ description, kind, rules, spec, status }: ResourceDefinition): JsonSchema {
  return {
    type: 'object',
    description,
    required: ['spec'],
    ...(rules.length > 0 && { 'x-kubernetes-validations': rules }),
    properties: {
      apiVersion: { type: 'string', description: `The version of this schema: ${API_GROUP}/${API_VERSION}.` },
      kind: { type: 'string', description: `${kind}.` },
      metadata: { type: 'object' },
      spec: structural(z.toJSONSchema(spec, { target: 'openapi-3.0', io: 'input' })),
      status: structural(z.toJSONSchema(status, { target: 'openapi-3.0', io: 'input' })),
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
