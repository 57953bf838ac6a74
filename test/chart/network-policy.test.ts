import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { deploymentOf, type Manifest, pick, render } from './chart.ts';

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

  test('let the audit out to pods of every namespace, and only the audit', async () => {
    const values = { audit: { enabled: true }, networkPolicy: { restrictEgress: true } };
    const objects = await render(values);
    const everywhere = policies(objects).filter(({ spec }) =>
      spec.egress.some(({ to = [] }: { to?: { namespaceSelector?: object }[] }) =>
        to.some((peer) => 'namespaceSelector' in peer),
      ),
    );
    assert.deepEqual(
      everywhere.map(({ metadata }) => metadata.name),
      ['dcred-audit'],
    );
    const [spec] = everywhere.map((one) => one['spec']);
    const [container] = deploymentOf(objects, 'audit')['spec'].template.spec.containers;
    const allowed = spec.ingress.flatMap(({ ports }: { ports: { port: string }[] }) => ports.map(({ port }) => port));
    assert.deepEqual(allowed.toSorted(), container.ports.map(({ name }: { name: string }) => name).toSorted());
  });

  test('narrow who may scrape, and let the pod of helm test ask the operator', async () => {
    const prometheus = { namespaceSelector: { matchLabels: { name: 'monitoring' } } };
    const objects = await render({
      audit: { enabled: true },
      issuer: { enabled: true, authorities: [{ namespace: 'vault', names: ['web-ca'] }] },
      networkPolicy: { metricsFrom: [prometheus] },
    });
    const { labels = {} } = pick(objects, 'Pod').metadata;
    for (const { metadata, spec } of policies(objects)) {
      const rule = spec.ingress.find(({ ports }: { ports: { port: string }[] }) => ports[0]?.port === 'metrics');
      const [first, ...others] = rule.from;
      assert.deepEqual(first, prometheus, metadata.name);
      assert.equal(others.length, metadata.name === 'dcred' ? 1 : 0, metadata.name);
      for (const { podSelector } of others)
        for (const [label, value] of Object.entries(podSelector.matchLabels)) assert.equal(labels[label], value, label);
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
