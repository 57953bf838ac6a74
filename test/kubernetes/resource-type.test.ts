import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  apiVersionOf,
  EVENTS,
  LEASES,
  PODS,
  type ResourceType,
  resourcePath,
  SECRETS,
} from '../../src/kubernetes/resource-type.ts';

const NODES: ResourceType = { group: '', version: 'v1', plural: 'nodes', kind: 'Node', namespaced: false };

describe('resourcePath', () => {
  test('names a collection in all namespaces, in one, an object and its subresource', () => {
    assert.equal(resourcePath(PODS, {}), '/api/v1/pods');
    assert.equal(resourcePath(SECRETS, { namespace: 'web' }), '/api/v1/namespaces/web/secrets');
    const lease = { namespace: 'kube-system', name: 'leader' };
    assert.equal(resourcePath(LEASES, lease), '/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/leader');
    assert.equal(
      resourcePath(PODS, { namespace: 'web', name: 'a', subresource: 'status' }),
      '/api/v1/namespaces/web/pods/a/status',
    );
    assert.equal(resourcePath(NODES, { name: 'n1' }), '/api/v1/nodes/n1');
  });

  test('encodes characters that a path cannot have', () => {
    assert.equal(resourcePath(NODES, { name: 'a:b?c#d é' }), '/api/v1/nodes/a%3Ab%3Fc%23d%20%C3%A9');
  });

  for (const name of ['', '.', '..', 'a/b', '../secrets/x', 'a%2fb', 'x'.repeat(254)]) {
    test(`refuses the name ${JSON.stringify(name.slice(0, 20))}`, () => {
      assert.throws(() => resourcePath(PODS, { namespace: 'web', name }), TypeError);
      assert.throws(() => resourcePath(PODS, { namespace: name, name: 'a' }), TypeError);
      assert.throws(() => resourcePath(PODS, { namespace: 'web', name: 'a', subresource: name }), TypeError);
    });
  }

  test('refuses an object without its namespace, a namespace where there is none, a subresource of nothing', () => {
    assert.throws(() => resourcePath(PODS, { name: 'a' }), /expected a namespace beside the name "a"/);
    assert.throws(() => resourcePath(NODES, { namespace: 'web' }), /expected no namespace/);
    assert.throws(() => resourcePath(PODS, { namespace: 'web', subresource: 'status' }), /expected a name/);
  });

  test('no name leads to another path than its own', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (name) => {
        let path: string;
        try {
          path = resourcePath(PODS, { namespace: 'web', name });
        } catch (error) {
          assert.ok(error instanceof TypeError || error instanceof URIError);
          return;
        }
        assert.equal(new URL(path, 'https://server').pathname, path);
        assert.equal(decodeURIComponent(path.slice('/api/v1/namespaces/web/pods/'.length)), name);
      }),
    );
  });
});

test('apiVersionOf is the version alone for the core group', () => {
  assert.equal(apiVersionOf(PODS), 'v1');
  assert.equal(apiVersionOf(EVENTS), 'events.k8s.io/v1');
});
