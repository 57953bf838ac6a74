import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { crdYaml } from '../../src/api/crd-yaml.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { deployments, list, NAMESPACE, operatorOf, podOf, render, renderText } from './chart.ts';
import { createRestrictedNamespaces, MONITORING_CRDS } from './cluster.ts';
import { VARIANTS } from './variants.ts';

describe('a real API server', () => {
  let plane: ControlPlane;

  before(async () => {
    plane = await startControlPlane();
    await plane.kubectl(['create', '-f', '-'], { input: list(MONITORING_CRDS) });
    await plane.kubectl(['create', '-f', '-'], { input: crdYaml() });
    await plane.untilServed();
    await createRestrictedNamespaces(plane, [NAMESPACE, 'edge', 'shop', 'vault']);
  });
  after(() => plane?.stop());

  for (const [name, values] of Object.entries(VARIANTS)) {
    test(`accepts ${name} without warnings or unknown fields`, async () => {
      const { stdout } = await plane.kubectl(
        [
          'apply',
          '--server-side',
          '--dry-run=server',
          '--validate=strict',
          '--warnings-as-errors',
          '-f',
          '-',
          '-o',
          'name',
        ],
        { input: await renderText(values) },
      );
      assert.equal(stdout.trim().split('\n').length, (await render(values)).length);
    });

    test(`admits the pods of ${name} to a namespace that enforces "restricted"`, async () => {
      const objects = await render(values);
      const pods = [...deployments(objects).map(podOf), ...objects.filter(({ kind }) => kind === 'Pod')];
      await plane.kubectl(['create', '--dry-run=server', '-f', '-'], { input: list(pods) });
    });
  }

  test('rejects the same pod when its security context is weaker', async () => {
    const objects = await render({ securityContext: { allowPrivilegeEscalation: true } });
    const pod = podOf(operatorOf(objects));
    await assert.rejects(plane.kubectl(['create', '--dry-run=server', '-f', '-'], { input: JSON.stringify(pod) }), {
      message: /violates PodSecurity "restricted:latest": allowPrivilegeEscalation/,
    });
  });
});
