import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Store } from '../../../src/kubernetes/cache/store.ts';

interface Thing {
  readonly name: string;
  readonly colours: readonly string[];
}

const NAMES = ['a', 'b', 'c', 'd', 'e'];
const COLOURS = ['red', 'green', 'blue'];

function coloured(): Store<Thing> {
  return new Store<Thing>((thing) => thing.name, {
    colour: (thing) => thing.colours,
    initial: (thing) => [thing.name.slice(0, 1)],
  });
}

const thing = fc.record({
  name: fc.constantFrom(...NAMES),
  colours: fc.uniqueArray(fc.constantFrom(...COLOURS)),
});

const command = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('set' as const), thing }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete' as const), name: fc.constantFrom(...NAMES) }) },
);

describe('Store', () => {
  test('agrees with a plain map and a search through all of it, whatever is done', () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60, size: 'max' }), (commands) => {
        const store = coloured();
        const model = new Map<string, Thing>();
        for (const step of commands) {
          if (step.kind === 'set') {
            assert.equal(store.set(step.thing), model.get(step.thing.name));
            model.set(step.thing.name, step.thing);
          } else {
            assert.equal(store.delete(step.name), model.get(step.name));
            model.delete(step.name);
          }
          assert.equal(store.size, model.size);
          for (const name of NAMES) assert.equal(store.get(name), model.get(name));
          for (const colour of COLOURS) {
            const expected = [...model.values()].filter((one) => one.colours.includes(colour));
            assert.deepEqual(new Set(store.byIndex('colour', colour)), new Set(expected));
          }
        }
        assert.deepEqual(new Set(store.values()), new Set(model.values()));
      }),
    );
  });

  test('a result of an index stays as it was when the store changes', () => {
    const store = coloured();
    store.set({ name: 'a', colours: ['red'] });
    const found = store.byIndex('colour', 'red');
    store.delete('a');
    assert.equal(found.length, 1);
    assert.deepEqual(store.byIndex('colour', 'red'), []);
  });

  test('an index that does not exist is a mistake, not an empty answer', () => {
    assert.throws(() => coloured().byIndex('size', 'big'), /expected one of the indexes colour, initial, found size/);
  });
});
