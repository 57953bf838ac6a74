import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { test } from 'node:test';
import { scenario, servedNamespace } from './scenario.ts';
import { file } from './verification.ts';

const running = scenario();

/** Every form in which a private key could show: its PEM lines, its scalar in base64, base64url and hex. */
function traces(keyPem: string): readonly string[] {
  const lines = keyPem.split('\n').filter((line) => line !== '' && !line.startsWith('-----'));
  const { d = '' } = createPrivateKey(keyPem).export({ format: 'jwk' });
  const scalar = Buffer.from(d, 'base64url');
  return [
    ...lines,
    d,
    scalar.toString('base64').replace(/=+$/, ''),
    scalar.toString('hex'),
    Buffer.from(keyPem).toString('base64'),
  ];
}

test('no key shows in logs at any level, Events, status, metrics or errors', async () => {
  const { authority, cluster, operator } = running();
  const namespace = await servedNamespace(running());
  const leaf = await authority.issue();
  await cluster.putCertificate(namespace, 'web-tls', leaf);
  await cluster.createPods(namespace, 3);
  const secrets = await cluster.untilSecrets(namespace, 3);
  await cluster.untilReason(namespace, 'web', 'Issued');

  // And where things go wrong: a key beside another certificate, a key where a certificate belongs, a key cut short, a clash.
  const broken = [
    { certificatePem: (await authority.issue()).certificatePem, keyPem: leaf.keyPem },
    { certificatePem: leaf.keyPem, keyPem: leaf.keyPem },
    { certificatePem: leaf.certificatePem, keyPem: leaf.keyPem.slice(0, 150) },
  ];
  for (const [index, files] of broken.entries()) {
    const name = `broken-${index}`;
    await cluster.putCertificate(namespace, name, files);
    await cluster.createResource(namespace, name, { certificateRef: { name } });
    await cluster.untilReason(namespace, name, 'CertificateInvalid');
  }
  await cluster.plane.kubectl([
    'create',
    'secret',
    'generic',
    'web-clash',
    '-n',
    namespace,
    `--from-literal=dc.key=${leaf.keyPem}`,
  ]);
  await cluster.createPod(namespace, 'clash');
  await cluster.untilReason(namespace, 'web', 'PodsFailed');

  const keys = [leaf.keyPem, ...secrets.map((secret) => file(secret, 'dc.key').toString())];
  const { stdout: resources } = await cluster.plane.kubectl(['get', 'dcred', '-n', namespace, '-o', 'json']);
  const spoken = [
    operator.log,
    JSON.stringify(await cluster.events(namespace)),
    resources,
    await operator.metrics(),
  ].join('\n');
  assert.ok(spoken.length > 10_000, 'there is something to search');
  for (const trace of keys.flatMap(traces)) {
    assert.ok(trace.length > 20);
    assert.ok(!spoken.includes(trace), 'a piece of a private key was written');
  }
});
