/**
 * Every mistake that a user can make in a resource, by a walk over the schema: each field of the spec gets each value of a list
 * of wrong and extreme ones. The API server either refuses the object (with which words: api-server.test.ts), or what it accepts can be served:
 * the operator reads it, and the API server takes what dcred makes of it (a Secret with the template's labels and annotations,
 * a selector, a Secret name). So no object that is accepted ends up without a condition.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { customResourceDefinition } from '../../src/api/crd.ts';
import type { DelegatedCredentialSpec } from '../../src/api/delegated-credential.ts';
import { isReadable, readDelegatedCredential } from '../../src/api/read.ts';
import { isSecretName } from '../../src/issued-secret/names.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { operatorsClient } from '../operator/cluster.ts';
import { describePath, fields, specSchemaOf, valueAt, values, withValue } from './wrong-values.ts';

const CRD = join(import.meta.dirname, '..', '..', 'crds', 'dcred.dev_delegatedcredentials.yaml');
const signal = new AbortController().signal;

let plane: ControlPlane;
let client: ApiClient;

before(async () => {
  plane = await startControlPlane();
  await plane.kubectl(['apply', '--server-side', '-f', CRD]);
  await plane.untilServed('delegatedcredentials.dcred.dev');
  client = await operatorsClient(plane);
});
after(async () => {
  await client?.close();
  await plane?.stop();
});

/** A spec in which every field is set, and valid. */
const FULL = {
  certificateRef: { name: 'web-tls', namespace: 'default' },
  podSelector: {
    matchLabels: { app: 'web' },
    matchExpressions: [{ key: 'tier', operator: 'In', values: ['front'] }],
  },
  usage: 'Server',
  keyAlgorithm: 'ECDSAP256',
  lifetimeSeconds: 172_800,
  renewBeforeSeconds: 86_400,
  secretTemplate: { labels: { team: 'edge' }, annotations: { 'example.com/note': 'x' } },
  suspend: false,
};

let count = 0;

async function create(
  kind: { readonly group: string; readonly plural: string; readonly kind: string },
  object: object,
  template: object = {},
) {
  const type = { ...kind, version: kind.group === 'dcred.dev' ? 'v1alpha1' : 'v1', namespaced: true };
  count += 1;
  const metadata = { namespace: 'default', name: `made-${count}`, ...template };
  return await client.create(type, { metadata, ...object }, { signal });
}

const RESOURCE = { group: 'dcred.dev', plural: 'delegatedcredentials', kind: 'DelegatedCredential' };
const SECRET = { group: '', plural: 'secrets', kind: 'Secret' };
const POLICY = { group: 'networking.k8s.io', plural: 'networkpolicies', kind: 'NetworkPolicy' };

/** What the operator makes from the spec must be acceptable too. */
async function servable(spec: DelegatedCredentialSpec): Promise<void> {
  assert.ok(isSecretName(spec.certificateRef.name), 'a Secret can have that name');
  assert.ok((spec.renewBeforeSeconds ?? 0) < spec.lifetimeSeconds);
  await create(SECRET, { type: 'example.com/test' }, spec.secretTemplate);
  // The API server's own validation of a LabelSelector is the reference.
  await create(POLICY, { spec: { podSelector: spec.podSelector ?? {} } });
}

const schema = specSchemaOf(customResourceDefinition());

/** Whether the API server accepts the spec. Fails where it does and dcred cannot serve it. */
async function isAccepted(spec: unknown, shown: string): Promise<boolean> {
  const created = await create(RESOURCE, { spec }).catch((error: unknown) => {
    assert.ok(error instanceof ApiError, `${shown}: ${String(error)}`);
    assert.ok(error.reason === 'Invalid' || error.reason === 'BadRequest', `${shown}: ${error.reason}`);
    return undefined;
  });
  if (created === undefined) return false;
  const read = readDelegatedCredential(created);
  assert.ok(isReadable(read), `${shown} is accepted, and then: ${isReadable(read) || read.problem}`);
  await servable(read.spec).catch((error: unknown) => assert.fail(`${shown} is accepted, and then: ${String(error)}`));
  return true;
}

for (const [path, field] of fields(schema, [])) {
  test(describePath(path), async () => {
    const good = valueAt(FULL, path);
    const tried = [good, ...values(field)];
    const results = await Promise.all(
      tried.map((value) =>
        isAccepted(withValue(FULL, path, value), JSON.stringify(value)?.slice(0, 100) ?? 'no value'),
      ),
    );
    assert.ok(results[0], 'the good value is accepted');
    assert.ok(results.includes(false), 'some values are refused');
  });
}
