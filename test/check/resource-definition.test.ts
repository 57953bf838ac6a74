import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { customResourceDefinition } from '../../src/api/crd.ts';
import { checkDefinition, type Definition, differences } from '../../src/check/resource-definition.ts';

const expected = customResourceDefinition() as unknown as Definition;
const status = { conditions: [{ type: 'Established', status: 'True' }] };

/** What these tests change. */
interface Served {
  readonly spec: {
    readonly versions: readonly [
      {
        served: boolean;
        readonly schema: {
          readonly openAPIV3Schema: {
            readonly properties: {
              readonly spec: {
                readonly properties: { suspend?: { description: string }; readonly usage: { enum: readonly string[] } };
              };
            };
          };
        };
      },
    ];
  };
}

/** As an API server serves it: with a status and the keys in another order. */
function served(change: (definition: Served) => void = () => {}): Definition {
  const copy = JSON.parse(JSON.stringify({ ...expected, status }));
  change(copy);
  return copy;
}

const schemaOf = (definition: Served) => definition.spec.versions[0].schema.openAPIV3Schema.properties.spec.properties;

test('the definition of this dcred is recognised', () => {
  assert.equal(checkDefinition(expected, served()).level, 'ok');
});

test('none, one that is not established and one of another version are problems', () => {
  assert.match(checkDefinition(expected, undefined).message, /not installed/);
  assert.match(checkDefinition(expected, { ...expected }).message, /not established/);
  const unserved = served((definition) => {
    definition.spec.versions[0].served = false;
  });
  assert.match(checkDefinition(expected, unserved).message, /does not serve version v1alpha1/);
});

test('a schema that differs is a warning that names the fields', () => {
  const older = served((definition) => {
    delete schemaOf(definition).suspend;
    schemaOf(definition).usage.enum = ['Server'];
  });
  const { level, message } = checkDefinition(expected, older);
  assert.equal(level, 'warning');
  assert.match(message, /it differs in spec\.suspend, spec\.usage\.enum$/);
});

test('a reworded description is not a difference', () => {
  const reworded = served((definition) => {
    schemaOf(definition).suspend = { ...schemaOf(definition).suspend, description: 'Reworded.' };
  });
  assert.equal(checkDefinition(expected, reworded).level, 'ok');
});

test('two schemas differ exactly where they are not equal, whatever the order of their keys', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      assert.deepEqual(differences(value, reversed(value)), []);
      assert.notDeepEqual(differences({ added: 1, value }, { value }), []);
    }),
  );
});

function reversed(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, inner]) => [key, reversed(inner)]),
  );
}
