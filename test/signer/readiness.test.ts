/** When a signer gets calls: one certificate that is missing must not keep the others from being signed for. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { leaf } from '../../testing/support/openssl.ts';
import { eventually } from '../../testing/support/processes.ts';
import { temporaryDirectory } from '../cli/run-command.ts';
import { ask, CONFIG, call, create, EU, sign, start } from './running-signer.ts';

const MISSING = { name: 'vault/api-tls', directory: '/nonexistent/api-tls' };

function usable(t: TestContext) {
  const directory = join(temporaryDirectory(t), 'web-tls');
  const { certificatePem, keyPem } = leaf();
  mkdirSync(directory);
  writeFileSync(join(directory, 'tls.crt'), certificatePem);
  writeFileSync(join(directory, 'tls.key'), keyPem);
  return { name: 'vault/web-tls', directory };
}

test('a signer is ready without one of its certificates, says which, and signs for the others', async (t) => {
  const grants = [...CONFIG.grants, { certificate: MISSING.name, from: [{ cluster: 'eu' }] }];
  const { port, signer } = await start(t, { certificates: [usable(t), MISSING], grants });
  assert.equal(signer.problem, undefined);
  assert.match(signer.exceptions ?? '', /^vault\/api-tls: .*no such file/);
  const { body } = await sign(port, EU, ask(), ask({ certificate: MISSING.name }));
  const [signed, failed] = body.results ?? [];
  assert.equal(signed?.ok, true);
  assert.equal(failed?.ok === false && failed.reason, 'SigningFailed');
  const answer = await call(port, EU, `/v1/certificates/${MISSING.name}`);
  assert.equal(answer.status, 503);
  assert.match(answer.body.message ?? '', /cannot use the certificate now/);
});

test('it is not while it can sign for none: a rollout then stops at it, and the signers before it go on', async (t) => {
  const { signer } = await start(t, { certificates: [MISSING], grants: CONFIG.grants.slice(0, 0) });
  assert.match(signer.problem ?? '', /^vault\/api-tls: /);
});

test('nor before it listens', async (t) => {
  const { signer } = await create(t);
  assert.match(signer.problem ?? '', /for the first time/);
  await signer.listen(new AbortController().signal);
  assert.deepEqual([signer.problem, signer.exceptions], [undefined, undefined]);
});

test('grants that it is refused keep it ready, and are named where probes and scrapers look', async (t) => {
  const refuse = () => {
    throw new ApiError('no', { status: 403, reason: 'Forbidden' });
  };
  const client = { list: async () => refuse(), watch: refuse } as unknown as ApiClient;
  const { metrics, signer } = await create(t, { delegationGrants: true, cluster: 'here' }, undefined, client);
  await signer.listen(new AbortController().signal);
  const stop = new AbortController();
  const running = signer.run(stop.signal);
  t.after(async () => {
    stop.abort();
    await running;
  });
  const served = await eventually('the refusals to be scraped', async () => {
    const text = await metrics.registry.metrics();
    return text.includes('dcred_signer_grants_readable{resource="namespaces"') ? text : undefined;
  });
  assert.match(served, /^dcred_signer_grants_readable\{resource="delegationgrants",namespace="vault"\} 0$/m);
  assert.match(served, /^dcred_signer_grants_readable\{resource="namespaces",namespace=""\} 0$/m);
  assert.equal(signer.problem, undefined);
  assert.match(signer.exceptions ?? '', /^DelegationGrants of namespace "vault": Forbidden; labels of namespaces: /);
});
