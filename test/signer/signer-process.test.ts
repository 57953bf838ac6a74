/**
 * `dcred signer` as a process: a service account's token that a real API server reviews, a certificate that is replaced while it
 * runs, and a credential that independent peers accept (BoringSSL serves it, NSS verifies it).
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { signerCommand } from '../../src/cli/services/signer.ts';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { credentialFiles } from '../../src/credential/files.ts';
import { decodeDelegatedCredential } from '../../src/credential/wire.ts';
import { makeDevCertificate } from '../../src/provision/dev-authority.ts';
import { type CertificateAnswer, formatSignCall, type SignResult } from '../../src/signer/protocol.ts';
import { startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { startBoringServer } from '../../testing/peers/boringssl-server.ts';
import { createNssClient } from '../../testing/peers/nss-client.ts';
import { findPeers } from '../../testing/peers/peers.ts';
import { authority, leaf } from '../../testing/support/openssl.ts';
import { freePort } from '../../testing/support/ports.ts';
import { endChild, eventually } from '../../testing/support/processes.ts';
import { runCommand, temporaryDirectory } from '../cli/run-command.ts';
import { httpsCall } from './https-call.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts');
const now = () => Math.floor(Date.now() / 1000);

test('a token of the cluster gets a credential that NSS accepts, and a new certificate is used at once', async (t) => {
  await using plane = await startControlPlane({});
  await plane.kubectl(['create', 'namespace', 'dcred-system']);
  await plane.kubectl(['create', 'serviceaccount', 'dcred', '-n', 'dcred-system']);
  const minted = await plane.kubectl(['create', 'token', 'dcred', '-n', 'dcred-system', '--audience', 'dcred-signer']);
  const other = await plane.kubectl(['create', 'token', 'dcred', '-n', 'dcred-system']);

  const folder = temporaryDirectory(t);
  const serving = await makeDevCertificate({ dnsNames: ['signer.test'], now: now(), lifetimeSeconds: 86_400 });
  const ca = authority();
  const [first, second] = [leaf({ issuer: ca }), leaf({ issuer: ca })];
  const file = (name: string, content: string) => {
    writeFileSync(join(folder, `${name}.new`), content);
    renameSync(join(folder, `${name}.new`), join(folder, name));
    return join(folder, name);
  };
  mkdirSync(join(folder, 'web-tls'));
  file('web-tls/tls.crt', first.certificatePem);
  file('web-tls/tls.key', first.keyPem);
  const config = file(
    'signer.yaml',
    [
      'clients: [{name: here, cluster: local, serviceAccount: dcred-system/dcred}]',
      'certificates:',
      `- {name: vault/web-tls, directory: ${join(folder, 'web-tls')}}`,
      `- {name: vault/api-tls, directory: ${join(folder, 'missing')}}`,
      'grants: [{certificate: vault/web-tls, from: [{namespace: edge}]}]',
      '',
    ].join('\n'),
  );
  const [port, health] = [await freePort(), await freePort()];
  const words = {
    config,
    'audit-log': join(folder, 'audit.jsonl'),
    'tls-cert': file('serving.crt', serving.certificate),
    'tls-key': file('serving.key', serving.key),
    'bind-address': `127.0.0.1:${port}`,
    'metrics-bind-address': '0',
    'health-probe-bind-address': `127.0.0.1:${health}`,
    kubeconfig: plane.kubeconfig,
  };
  const args = Object.entries(words).flatMap(([name, value]) => [`--${name}`, value]);
  const child = spawn(process.execPath, [MAIN, 'signer', '--token-review', ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const log: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => log.push(text));
  t.after(() => endChild(child));
  const ready = await eventually('the signer to be ready', async () => {
    if (child.exitCode !== null) throw new Error(`the signer ended: ${log.join('')}`);
    const answer = await fetch(`http://127.0.0.1:${health}/readyz`).catch(() => undefined);
    return answer?.ok ? await answer.text() : undefined;
  });
  assert.match(ready, /^ok, except for vault\/api-tls: /, 'a certificate that is missing stops no other');

  const call = (token: string, path: string, body?: string) => {
    const headers = { authorization: `Bearer ${token.trim()}` };
    return httpsCall({ port, path, servername: 'signer.test', ca: serving.authority, headers }, body);
  };
  assert.equal((await call(other.stdout, '/v1/certificates/vault/web-tls')).status, 401, 'a token for the API server');

  const key = await generateCredentialKey('ECDSAP256');
  const request = {
    certificate: 'vault/web-tls',
    usage: 'Server',
    dcCertVerifyAlgorithm: 0x0403,
    subjectPublicKeyInfo: key.subjectPublicKeyInfo,
    expiresAt: now() + 3_600,
    namespace: 'edge',
    resource: 'web',
    podUid: 'uid',
  } as const;
  const issue = async () => {
    const { chainPem } = (await call(minted.stdout, '/v1/certificates/vault/web-tls')).body as CertificateAnswer;
    const answer = await call(minted.stdout, '/v1/sign', formatSignCall([request]));
    const [result] = (answer.body as { results: readonly SignResult[] }).results;
    assert.ok(result?.ok, JSON.stringify(result));
    return { certificate: readDelegationCertificate(chainPem), result };
  };
  const { certificate, result } = await issue();
  assert.equal(result.certificateSha256, certificate.sha256);

  const peers = await findPeers();
  if (peers.available) {
    const bytes = Buffer.from(result.credential, 'base64');
    const credential = decodeDelegatedCredential(bytes);
    const issued = {
      bytes,
      credential,
      issuedAt: now(),
      expiresAt: request.expiresAt,
      usage: 'Server',
      keyAlgorithm: 'ECDSAP256',
    } as const;
    const directory = join(folder, 'issued');
    mkdirSync(directory);
    for (const [name, content] of credentialFiles({ certificate, key, issued }))
      writeFileSync(join(directory, name), content);
    await using server = await startBoringServer({ binary: peers.serverBinary, directory });
    await using nss = await createNssClient(ca.certificatePem);
    const { output, receivedCredential } = await nss.connect({ port: server.port, name: 'web.example' });
    assert.equal(receivedCredential, true, output);
  } else if (process.env['CI'] === 'true') assert.fail(peers.reason);

  file('web-tls/tls.key', second.keyPem);
  file('web-tls/tls.crt', second.certificatePem);
  const { sha256 } = readDelegationCertificate(second.certificatePem);
  await eventually('the new certificate to be used', async () => {
    const after = await issue();
    return after.result.certificateSha256 === sha256 || undefined;
  });
  const checked = await runCommand(signerCommand, ['verify-log', words['audit-log']]);
  assert.equal(checked.status, 0, checked.stdout);
  assert.ok(!log.join('').includes('PRIVATE KEY') && !log.join('').includes(minted.stdout.trim()));
  assert.ok(!readFileSync(words['audit-log'], 'utf8').includes(minted.stdout.trim()));
});
