/** What a support archive is made of where strangers put dcred's label on objects of their own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collectBundle } from '../../src/bundle/collect.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import type { KubernetesObject } from '../../src/kubernetes/objects.ts';
import type { ResourceType } from '../../src/kubernetes/resource-type.ts';
import { NOW } from '../../testing/support/builders.ts';
import { settle } from '../../testing/support/fake-clock.ts';

function podWith(namespace: string, name: string, count: number): KubernetesObject {
  const containers = Array.from({ length: count }, (_, position) => ({ name: `container-${position}` }));
  return { metadata: { namespace, name }, ...{ spec: { containers } } };
}

/** Has these objects, and answers with a log a moment after it is asked for one. */
function clusterWith(objects: Readonly<Record<string, readonly KubernetesObject[]>>) {
  const counts = { calls: 0, atOnce: 0, mostAtOnce: 0 };
  const client = {
    list: async ({ plural }: ResourceType) => ({ metadata: {}, items: objects[plural] ?? [] }),
    getText: async (path: string) => {
      counts.calls += 1;
      counts.atOnce += 1;
      counts.mostAtOnce = Math.max(counts.mostAtOnce, counts.atOnce);
      await settle();
      counts.atOnce -= 1;
      return path;
    },
  };
  return { client: client as unknown as ApiClient, counts };
}

test("a labelled pod with 500 containers leaves dcred's own logs in the archive, and room for few others", async () => {
  for (const strangersDeployment of [[], [{ metadata: { namespace: 'attack', name: 'dcred' } }]]) {
    const { client, counts } = clusterWith({
      deployments: [...strangersDeployment, { metadata: { namespace: 'dcred-system', name: 'dcred' } }],
      pods: [
        podWith('attack', 'many', 500),
        podWith('dcred-system', 'dcred-1', 2),
        podWith('dcred-system', 'dcred-2', 1),
      ],
    });
    const found = await collectBundle({
      client,
      namespace: undefined,
      systemNamespace: undefined,
      versions: {},
      findings: [],
      now: NOW,
      signal: new AbortController().signal,
    });
    for (const own of ['dcred-1 container-0', 'dcred-1 container-1', 'dcred-2 container-0']) {
      assert.match(found.logs[`dcred-system/${own}`] ?? '', /^\/api\/v1\/namespaces\/dcred-system\/pods\//, own);
    }
    assert.deepEqual([counts.calls, Object.keys(found.logs).length], [32, 32]);
    assert.ok(counts.mostAtOnce <= 4, `${counts.mostAtOnce} logs at once`);
    assert.deepEqual(found.failures, [
      "logs of 471 containers: those pods have 503, and 32 are read: name dcred's namespace with -s",
    ]);
  }
});
