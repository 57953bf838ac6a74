import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { load } from 'js-yaml';
import {
  clusterIssuerDefinition,
  customResourceDefinition,
  grantDefinition,
  issuerDefinition,
} from '../../src/api/crd.ts';
import { crdFiles } from '../../src/api/crd-yaml.ts';

type Schema = Readonly<{
  type?: string;
  description?: string;
  properties?: Readonly<Record<string, Schema>>;
  items?: Schema;
  additionalProperties?: Schema | boolean;
  'x-kubernetes-validations'?: readonly { rule: string; message: string }[];
}> &
  Readonly<Record<string, unknown>>;

function resourceSchema(definition: object): Schema {
  const crd = definition as { spec: { versions: { schema: { openAPIV3Schema: Schema } }[] } };
  const [version] = crd.spec.versions;
  assert.ok(version !== undefined);
  return version.schema.openAPIV3Schema;
}

/** Every node of the schema, with its path. */
function* nodes(schema: Schema, path = ''): Generator<readonly [string, Schema]> {
  yield [path, schema];
  for (const [name, child] of Object.entries(schema.properties ?? {})) yield* nodes(child, `${path}.${name}`);
  if (schema.items !== undefined) yield* nodes(schema.items, `${path}[]`);
  if (typeof schema.additionalProperties === 'object') yield* nodes(schema.additionalProperties, `${path}{}`);
}

test('the CRDs as committed are what the schemas generate', async () => {
  const definitions = [customResourceDefinition(), grantDefinition(), issuerDefinition(), clusterIssuerDefinition()];
  for (const [index, { name, yaml }] of crdFiles().entries()) {
    const committed = await readFile(join(import.meta.dirname, '..', '..', 'crds', name), 'utf8');
    assert.equal(committed, yaml, 'run "npm run generate"');
    assert.deepEqual(load(committed), JSON.parse(JSON.stringify(definitions[index])));
  }
});

test('the CRDs are the same every time they are generated', () => assert.deepEqual(crdFiles(), crdFiles()));

for (const definition of [customResourceDefinition, grantDefinition, issuerDefinition, clusterIssuerDefinition]) {
  describe(`the CRD from ${definition.name}`, () => {
    test('describes every field', () => {
      const silent = [...nodes(resourceSchema(definition()))]
        .filter(([path, { description }]) => !/(\[\]|\{\})$/.test(path) && path !== '.metadata' && !description)
        .map(([path]) => path);
      assert.deepEqual(silent, []);
    });

    test('is structural: every node has one type, and no combination of schemas', () => {
      for (const [path, schema] of nodes(resourceSchema(definition()))) {
        assert.equal(typeof schema.type, 'string', path);
        for (const word of ['oneOf', 'anyOf', 'allOf', 'not', '$ref', '$schema', 'const']) {
          assert.ok(!(word in schema), `${word} at ${path}`);
        }
        assert.ok(!(schema.properties !== undefined && schema.additionalProperties !== undefined), path);
      }
    });

    test('gives every rule a message that is a complete sentence', () => {
      const rules = [...nodes(resourceSchema(definition()))].flatMap(
        ([, schema]) => schema['x-kubernetes-validations'] ?? [],
      );
      assert.ok(rules.length >= 3);
      for (const { rule, message } of rules) {
        assert.ok(message.length > 20 && !message.includes('\n'), rule);
        assert.ok(!message.includes('self.'), `${message} speaks CEL`);
      }
    });

    test('has the conditions as a list by type', () => {
      const conditions = resourceSchema(definition()).properties?.['status']?.properties?.['conditions'];
      assert.equal(conditions?.['x-kubernetes-list-type'], 'map');
      assert.deepEqual(conditions['x-kubernetes-list-map-keys'], ['type']);
    });

    test('has integers by format, and no bounds that JSON cannot hold', () => {
      for (const [path, schema] of nodes(resourceSchema(definition()))) {
        if (schema.type !== 'integer') continue;
        assert.match(String(schema['format']), /^int(32|64)$/, path);
        assert.ok(!('maximum' in schema) && !('minimum' in schema), path);
      }
    });
  });
}

/** https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules */
const RESERVED = [
  'true',
  'false',
  'null',
  'in',
  'as',
  'break',
  'const',
  'continue',
  'else',
  'for',
  'function',
  'if',
  'import',
  'let',
  'loop',
  'package',
  'namespace',
  'return',
];

test('no rule names a field by a reserved word of CEL: older API servers know it only as __namespace__', () => {
  const rules = JSON.stringify([customResourceDefinition(), grantDefinition()], (key, value) => {
    return key === 'message' || key === 'description' ? undefined : value;
  }).match(/"rule":"(?:[^"\\]|\\.)*"/g);
  assert.ok((rules ?? []).length > 20);
  for (const rule of rules ?? []) {
    for (const word of RESERVED) assert.doesNotMatch(rule, new RegExp(`self\\.(?:\\w+\\.)*${word}\\b`), rule);
  }
});
