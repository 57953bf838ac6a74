/** JSON Patch as RFC 6902 describes it, naive on purpose: judges what the webhook answers. */
import assert from 'node:assert/strict';
import type { JsonPatch } from '../../src/admission/injection/json-patch.ts';

type Node = Record<string, unknown> | unknown[];

export function applyPatch<T>(document: T, patch: JsonPatch): T {
  const copy = structuredClone(document) as T & Node;
  for (const operation of patch) {
    const names = operation.path
      .split('/')
      .slice(1)
      .map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = names.pop() ?? '';
    let node: Node = copy;
    for (const name of names) {
      node = Reflect.get(node, name) as Node;
      assert.ok(typeof node === 'object' && node !== null, `${operation.path}: nothing is at ${name}`);
    }
    if (Array.isArray(node)) {
      const index = last === '-' ? node.length : Number(last);
      const limit = operation.op === 'add' ? node.length : node.length - 1;
      assert.ok(Number.isInteger(index) && index >= 0 && index <= limit, `${operation.path}: no such index`);
      if (operation.op === 'add') node.splice(index, 0, structuredClone(operation.value));
      else node.splice(index, 1);
      continue;
    }
    if (operation.op === 'add') {
      node[last] = structuredClone(operation.value);
      continue;
    }
    assert.ok(Object.hasOwn(node, last), `${operation.path}: nothing to remove`);
    delete node[last];
  }
  return copy;
}
