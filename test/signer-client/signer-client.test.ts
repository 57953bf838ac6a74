/** The operator's way to the signer, on a real connection: a client certificate or a token from files, news of a certificate, signatures. */

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { issueCommand } from '../../src/cli/credential/issue.ts';
import { verifyCommand } from '../../src/cli/credential/verify.ts';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { type Clock, systemClock } from '../../src/kubernetes/clock.ts';
import { makeDevCertificate } from '../../src/provision/dev-authority.ts';
import { parseSignerConfig } from '../../src/signer/config.ts';
import { SignerMetrics } from '../../src/signer/metrics.ts';
import { SignerProcess } from '../../src/signer/signer.ts';
import { SignerClient } from '../../src/signer-client/signer-client.ts';
import { signerConnection } from '../../src/signer-client/signer-connection.ts';
import { leaf } from '../../testing/support/openssl.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';
import { runCommand, temporaryDirectory } from '../cli/run-command.ts';

const web = leaf();
/** After the certificate was made: it is valid by then. */
const NOW = Math.floor(Date.now() / 1000);

test('a client with a certificate and one with a token that is replaced get what is granted to their clusters', async (t) => {
  const folder = temporaryDirectory(t);
  const file = (name: string, content: string) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  mkdirSync(join(folder, 'web-tls'));
  file('web-tls/tls.crt', web.certificatePem);
  file('web-tls/tls.key', web.keyPem);
  const serving = await makeDevCertificate({ dnsNames: ['localhost'], now: NOW, lifetimeSeconds: 86_400 });
  const eu = await makeDevCertificate({ dnsNames: ['operator.eu'], now: NOW, lifetimeSeconds: 86_400 });
  const metrics = new SignerMetrics('test');
  const signer = await SignerProcess.create({
    address: { host: '127.0.0.1', port: 0 },
    tls: { certificatePem: serving.certificate, keyPem: serving.key, clientCaPem: eu.authority },
    config: parseSignerConfig({
      clients: [
        { name: 'eu', cluster: 'eu', tlsName: 'operator.eu' },
        { name: 'here', cluster: 'here', serviceAccount: 'dcred-system/dcred' },
      ],
      certificates: [
        { name: 'vault/web-tls', directory: join(folder, 'web-tls') },
        { name: 'vault/api-tls', directory: join(folder, 'missing') },
      ],
      grants: [
        { certificate: 'vault/api-tls', from: [{ cluster: 'eu' }] },
        {
          certificate: 'vault/web-tls',
          from: [{ cluster: 'eu', namespace: 'edge' }, { cluster: 'here' }],
          maxLifetimeSeconds: 86_400,
        },
      ],
    }),
    env: {},
    keySets: new Map(),
    // A fake of the API server's answer.
    reviewToken: async (token) => (token === 'second' ? 'system:serviceaccount:dcred-system:dcred' : undefined),
    auditLog: join(folder, 'audit.jsonl'),
    metrics,
    clock: systemClock,
    log: recordingLogger(),
  });
  const stop = new AbortController();
  await signer.listen(stop.signal);
  t.after(async () => {
    stop.abort();
    await signer.close();
  });
  const url = `https://localhost:${signer.port}`;
  const caFile = file('ca.crt', serving.authority);
  const connect = async (files: object, clock: Clock = systemClock) => {
    const connection = await signerConnection({ url, caFile, ...files, clock: systemClock });
    const client = new SignerClient({ connection, userAgent: 'test', clock });
    t.after(() => client.close());
    return client;
  };
  const known = [
    { certificate: 'vault/web-tls', namespace: 'edge' },
    { certificate: 'vault/web-tls', namespace: 'shop' },
  ];
  const granted = async (client: SignerClient) =>
    (await client.follow({ known, waitSeconds: 0 }, stop.signal)).map((news) => news.granted?.chainPem);

  const byCertificate = await connect({ certFile: file('eu.crt', eu.certificate), keyFile: file('eu.key', eu.key) });
  assert.deepEqual(await granted(byCertificate), [web.certificatePem, undefined]);
  const { subjectPublicKeyInfo } = await generateCredentialKey('ECDSAP256');
  const request = {
    certificate: 'vault/web-tls',
    usage: 'Server',
    dcCertVerifyAlgorithm: 0x0403,
    subjectPublicKeyInfo,
    expiresAt: NOW + 3_600,
    namespace: 'edge',
    resource: 'web',
    podUid: 'uid',
  } as const;
  const results = await byCertificate.sign([request, { ...request, namespace: 'shop' }], stop.signal);
  assert.deepEqual(
    results.map(({ ok }) => ok),
    [true, false],
  );

  // The operator may delete what it issued only with a proof, which requires the leaf that it had.
  const use = { certificate: 'vault/web-tls', usage: 'Server', namespace: 'shop' } as const;
  const leafSha256 = readDelegationCertificate(web.certificatePem).sha256;
  assert.deepEqual(
    await byCertificate.withdrawn(
      [
        { ...use, leafSha256 },
        { ...use, leafSha256: '0'.repeat(64) },
        { ...use, namespace: 'edge', leafSha256 },
      ],
      stop.signal,
    ),
    [true, false, false],
  );

  // Files for a server outside of Kubernetes, by the same certificate.
  const reach = ['--signer', url, '--signer-ca', caFile, '--signer-cert', join(folder, 'eu.crt')];
  const argv = [...reach, '--signer-key', join(folder, 'eu.key'), '--certificate', 'vault/web-tls'];
  const out = join(folder, 'issued');
  const issued = await runCommand(issueCommand, [...argv, '--namespace', 'edge', '--lifetime', '48h', '--out', out]);
  assert.match(issued.stdout, /expires .*: shorter than 48h, because no grant allows more\)/);
  const check = ['--cert', join(out, 'tls.crt'), '--dc', join(out, 'dc.bin'), '--key', join(out, 'dc.key')];
  assert.equal((await runCommand(verifyCommand, check)).status, 0);
  await assert.rejects(
    runCommand(issueCommand, [...argv, '--namespace', 'shop', '--out', out]),
    /no grant lets namespace "shop"/,
  );
  // What the signer cannot use now is not what it does not grant.
  const missing = [...reach, '--signer-key', join(folder, 'eu.key'), '--certificate', 'vault/api-tls'];
  await assert.rejects(
    runCommand(issueCommand, [...missing, '--namespace', 'edge', '--out', out]),
    /got no answer about it: the signer cannot use it/,
  );
  await assert.rejects(runCommand(issueCommand, [...argv, '--cert', join(folder, 'web-tls/tls.crt'), '--out', out]), {
    code: 'Usage',
  });
  const audited = readFileSync(join(folder, 'audit.jsonl'), 'utf8').trimEnd().split('\n');
  assert.equal(JSON.parse(audited.at(-1) ?? '').resource, 'dcred-issue');

  // A renewed serving certificate changes nothing for clients.
  signer.useServingCertificate(serving.certificate, serving.key);
  const files = { certFile: join(folder, 'eu.crt'), keyFile: join(folder, 'eu.key') };
  assert.deepEqual(await granted(await connect(files)), [web.certificatePem, undefined]);

  // Ten minutes ahead, measured by an answer that had to wait: the wait must not count as part of the difference.
  const ahead: Clock = { ...systemClock, now: () => Date.now() + 600_000 };
  const early = await connect(files, ahead);
  const news = await early.follow({ known, waitSeconds: 0 }, stop.signal);
  assert.deepEqual(await early.follow({ known: news, waitSeconds: 3 }, stop.signal), []);
  assert.ok(early.now() <= Date.now() && early.now() > Date.now() - 300_000);

  const byToken = await connect({ tokenFile: file('token', 'first') });
  await assert.rejects(granted(byToken), { status: 401 });
  file('token', 'second');
  assert.deepEqual(
    await granted(byToken),
    [web.certificatePem, web.certificatePem],
    'read again, because it was refused',
  );
});
