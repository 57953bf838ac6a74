/** Which requests of the operator's account the API server counts to the chart's FlowSchema: it says so in a header of its answers. */
import assert from 'node:assert/strict';
import { request } from 'node:https';
import { after, before, test } from 'node:test';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { eventually } from '../../testing/support/processes.ts';
import { list, NAMESPACE, pick, render } from './chart.ts';

const HEADER = 'x-kubernetes-pf-flowschema-uid';

let plane: ControlPlane;

before(async () => {
  plane = await startControlPlane();
  await plane.kubectl(['create', 'namespace', NAMESPACE]);
});
after(() => plane?.stop());

function flowSchemaOf(path: string, token: string): Promise<string | undefined> {
  const { promise, reject, resolve } = Promise.withResolvers<string | undefined>();
  const headers = { authorization: `Bearer ${token}` };
  const sent = request(new URL(path, plane.url), { headers, ca: plane.certificateAuthority }, (response) => {
    const value = response.headers[HEADER];
    response.resume();
    response.on('end', () => resolve(typeof value === 'string' ? value : undefined));
  });
  sent.on('error', reject);
  sent.end();
  return promise;
}

test('the requests of a wave have their own flow; leases and other accounts do not', async () => {
  const objects = await render({ flowControl: { enabled: true } });
  const schema = pick(objects, 'FlowSchema');
  const installed = [schema, pick(objects, 'PriorityLevelConfiguration')];
  await plane.kubectl(['create', '-f', '-'], { input: list(installed) });
  await plane.kubectl(['create', 'serviceaccount', 'dcred', '-n', NAMESPACE]);
  await plane.kubectl(['create', 'serviceaccount', 'other', '-n', NAMESPACE]);
  const name = schema.metadata.name;
  const uid = (await plane.kubectl(['get', 'flowschema', name, '-o', 'jsonpath={.metadata.uid}'])).stdout;
  const own = await plane.tokenFor({ namespace: NAMESPACE, name: 'dcred' });
  const others = await plane.tokenFor({ namespace: NAMESPACE, name: 'other' });
  const inWave = [
    '/api/v1/namespaces/shop/secrets/web-web-0',
    '/api/v1/pods?limit=1',
    '/apis/dcred.dev/v1alpha1/namespaces/shop/delegatedcredentials/web',
    '/apis/events.k8s.io/v1/namespaces/shop/events',
  ];
  // The API server learns of it by a watch.
  await eventually('the FlowSchema to be in effect', async () =>
    (await flowSchemaOf(inWave[0] ?? '', own)) === uid ? true : undefined,
  );
  for (const path of inWave) {
    assert.equal(await flowSchemaOf(path, own), uid, path);
    assert.notEqual(await flowSchemaOf(path, others), uid, path);
  }
  const lease = `/apis/coordination.k8s.io/v1/namespaces/${NAMESPACE}/leases/dcred-operator`;
  const ofLease = await flowSchemaOf(lease, own);
  assert.ok(ofLease !== undefined && ofLease !== uid);
});
