import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { pointer, replaceItems, setEntries } from '../../../src/admission/injection/json-patch.ts';
import { applyPatch } from '../apply-patch.ts';

test('a pointer escapes its own special characters (RFC 6901 section 3)', () => {
  assert.equal(pointer('metadata', 'annotations', 'a/b~c'), '/metadata/annotations/a~1b~0c');
  assert.equal(pointer('~1'), '/~01');
  assert.equal(pointer('containers', 0), '/containers/0');
});

const entries = fc.dictionary(fc.string(), fc.string());

test('entries with any name are set, and the others stay', () => {
  fc.assert(
    fc.property(fc.option(entries), entries, (map, wanted) => {
      // The library refuses this name, as it guards against prototype pollution.
      fc.pre(!Object.hasOwn(wanted, '__proto__') && !Object.hasOwn(map ?? {}, '__proto__'));
      const after = applyPatch({ map }, setEntries('/map', map, wanted));
      assert.deepEqual({ ...(after.map ?? {}) }, { ...(map ?? {}), ...wanted });
      assert.deepEqual(setEntries('/map', after.map, wanted), []);
    }),
  );
});

test('items are replaced, the others keep their order, and a second call does nothing', () => {
  fc.assert(
    fc.property(fc.option(fc.array(fc.nat(9))), fc.array(fc.integer({ min: 5, max: 9 })), (list, wanted) => {
      const isOld = (item: number) => item >= 5;
      const after = applyPatch({ list }, replaceItems('/list', list, isOld, wanted));
      assert.deepEqual(
        (after.list ?? []).filter((item) => !isOld(item)),
        (list ?? []).filter((item) => !isOld(item)),
      );
      assert.deepEqual((after.list ?? []).filter(isOld), wanted);
      assert.deepEqual(replaceItems('/list', after.list, isOld, wanted), []);
    }),
  );
});
