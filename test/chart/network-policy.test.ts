import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { deploymentOf, type Manifest, render } from './chart.ts';

function policies(objects: readonly Manifest[]): readonly Manifest[] {
  return objects.filter(({ kind }) => kind === 'NetworkPolicy');
}

describe('NetworkPolicies', () => {
  test('by default let in exactly the ports that the pods open, and restrict no egress', async () => {
    const objects = await render();
    const found = policies(objects);
    assert.equal(found.length, 2);
    for (const [index, component] of (['operator', 'webhook'] as const).entries()) {
      const spec = found[index]?.['spec'];
      assert.deepEqual(spec.policyTypes, ['Ingress'], component);
      assert.equal(spec.egress, undefined, component);
      const allowed = spec.ingress.flatMap(({ ports }: { ports: { port: string }[] }) => ports.map(({ port }) => port));
      const [container] = deploymentOf(objects, component)['spec'].template.spec.containers;
      assert.deepEqual(allowed.sort(), container.ports.map(({ name }: { name: string }) => name).sort(), component);
    }
  });

  test('restrict egress to the API server and DNS on request', async () => {
    const values = {
      networkPolicy: { restrictEgress: true, apiServerPorts: [16443], apiServerCidrs: ['10.0.0.1/32'] },
    };
    for (const { spec } of policies(await render(values))) {
      assert.deepEqual(spec.policyTypes, ['Ingress', 'Egress']);
      const [server, dns] = spec.egress;
      assert.deepEqual(server, { ports: [{ port: 16443 }], to: [{ ipBlock: { cidr: '10.0.0.1/32' } }] });
      assert.deepEqual(
        dns.ports.map(({ port, protocol }: { port: number; protocol: string }) => `${protocol}/${port}`),
        ['UDP/53', 'TCP/53'],
      );
    }
  });
});
