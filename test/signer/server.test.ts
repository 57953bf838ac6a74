/** The signer as a server: which client gets a signature, which is turned away, and how much a stranger can make it hold. */

import assert from 'node:assert/strict';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { describe, test } from 'node:test';
import { verifyCredential } from '../../src/credential/verify.ts';
import { makeDevCertificate } from '../../src/provision/dev-authority.ts';
import { LogVerifier } from '../../src/signer/audit-log.ts';
import { MAX_BODY_BYTES, type SignRequest } from '../../src/signer/protocol.ts';
import { eventually } from '../../testing/support/processes.ts';
import { ask, CONFIG, call, certificate, EU, key, NOW, sign, start, token } from './running-signer.ts';

const stranger = await makeDevCertificate({ dnsNames: ['operator.eu'], now: NOW, lifetimeSeconds: 86_400 });

describe('a signature', () => {
  test('is a credential that verifies with the key that was requested', async (t) => {
    const { auditLog, port } = await start(t);
    const { body, status } = await sign(port, EU, ask(), ask({ namespace: 'shop' }), ask({ podUid: 'uid-2' }));
    assert.equal(status, 200);
    const [first, second, third] = body.results ?? [];
    assert.ok(first?.ok && third?.ok);
    assert.deepEqual(second?.ok === false && second.reason, 'NotPermitted');
    const bytes = Buffer.from(first.credential, 'base64');
    const { subjectPublicKeyInfo: publicKey } = key;
    const now = Math.floor(Date.now() / 1000);
    assert.equal(verifyCredential({ bytes, certificate, usage: 'Server', now, publicKey }).ok, true);
    assert.equal(first.certificateSha256, certificate.sha256);

    const lines = readFileSync(auditLog, 'utf8').trim().split('\n');
    const verifier = new LogVerifier();
    for (const line of lines) verifier.push(line);
    assert.equal(verifier.end().ok, true);
    const [entry, refused] = lines.map((line) => JSON.parse(line));
    assert.equal(entry.event, 'signed');
    assert.equal(entry.credentialSha256, createHash('sha256').update(bytes).digest('hex'));
    assert.deepEqual([entry.client, entry.cluster, entry.podUid], ['eu', 'eu', 'uid-1']);
    assert.deepEqual([refused.event, refused.reason, refused.namespace], ['refused', 'NotPermitted', 'shop']);
    assert.ok(!readFileSync(auditLog, 'utf8').includes('PRIVATE'));
  });

  test('is never of anything but a credential: no field names bytes to sign', async (t) => {
    const { port } = await start(t);
    const extra = { ...ask(), message: Buffer.from('TLS 1.3, server CertificateVerify').toString('base64') };
    const { body } = await sign(port, EU, extra as SignRequest);
    const [result] = body.results ?? [];
    assert.ok(result?.ok);
    const bytes = Buffer.from(result.credential, 'base64');
    assert.equal(
      verifyCredential({ bytes, certificate, usage: 'Server', now: Math.floor(Date.now() / 1000) }).ok,
      true,
    );
  });

  test('is limited by the grant of the cluster', async (t) => {
    const { port } = await start(t);
    const expiresAt = Math.floor(Date.now() / 1000) + 7_300;
    const [long] = (await sign(port, EU, ask({ expiresAt }))).body.results ?? [];
    assert.equal(long?.ok === false && long.reason, 'LifetimeNotAllowed');
    const [other] = (await sign(port, { token: await token() }, ask({ expiresAt }))).body.results ?? [];
    assert.equal(other?.ok, true);
  });
});

describe('a caller', () => {
  test('with a certificate of another CA, or none, is turned away', async (t) => {
    const { port } = await start(t);
    assert.equal((await sign(port, {}, ask())).status, 401);
    assert.equal((await sign(port, { cert: stranger.certificate, key: stranger.key }, ask())).status, 401);
  });

  test('with a token is recognised by issuer, audience, time and account', async (t) => {
    const { port } = await start(t);
    assert.equal((await sign(port, { token: await token() }, ask())).status, 200);
    assert.equal((await sign(port, { token: 'good' }, ask())).status, 200);
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${(await token()).split('.')[1]}.`;
    for (const wrong of [
      await token({ aud: 'api' }),
      await token({ exp: NOW - 60 }),
      await token({ sub: 'system:serviceaccount:dcred-system:default' }),
      await token({ sub: 'system:serviceaccount:dcred-system:dcred:x' }),
      await token({ sub: 'system:admin' }),
      await token({ iss: 'https://other.example' }),
      await token({}, other),
      none,
      'bad',
    ]) {
      assert.equal((await sign(port, { token: wrong }, ask())).status, 401, wrong);
    }
  });

  test('reads a certificate that is granted to its cluster, and learns of no other', async (t) => {
    const { port } = await start(t, { grants: [CONFIG.grants[0]] });
    const found = await call(port, EU, '/v1/certificates/vault/web-tls');
    assert.equal(found.body.chainPem, certificate.chainPem);
    const other = await call(port, EU, '/v1/certificates/vault/nosuch');
    const notGranted = await call(port, { token: 'good' }, '/v1/certificates/vault/web-tls');
    assert.deepEqual([other.status, notGranted.status], [403, 403]);
    assert.deepEqual(other.body, notGranted.body);
  });

  test('that calls too often learns when to come back', async (t) => {
    const { port } = await start(t, { ratePerSecond: 1 });
    const many = Array.from({ length: 500 }, () => ask());
    assert.equal((await sign(port, EU, ...many)).status, 200);
    assert.equal((await sign(port, EU, ...many)).status, 200);
    const third = await sign(port, EU, ...many);
    assert.equal(third.status, 429);
    assert.ok(Number(third.headers['retry-after']) > 0);
    // Another client has its own rate.
    assert.equal((await sign(port, { token: 'good' }, ask())).status, 200);
  });
});

describe('a body', () => {
  test('that is not a call is refused with what was expected, and nothing of it is quoted', async (t) => {
    const { port } = await start(t);
    for (const body of ['', '{', '[]', '{"requests":[]}', '{"requests":[{"certificate":"secret-text"}]}']) {
      const answer = await call(port, EU, '/v1/sign', body);
      assert.equal(answer.status, 400, body);
      assert.ok(!JSON.stringify(answer.body).includes('secret-text'));
    }
    const many = Array.from({ length: 501 }, () => ask());
    assert.equal((await sign(port, EU, ...many)).status, 400);
    assert.equal((await call(port, EU, '/v1/other', '{}')).status, 404);
  });

  test('that is too large is cut off, and the next caller is served', async (t) => {
    const { port } = await start(t);
    const large = call(port, EU, '/v1/sign', 'x'.repeat(MAX_BODY_BYTES + 1));
    // The answer may be lost where the connection closes on what is still being sent.
    await large.then(
      ({ status }) => assert.equal(status, 413),
      (error: NodeJS.ErrnoException) => assert.match(String(error.code), /EPIPE|ECONNRESET/),
    );
    assert.equal((await sign(port, EU, ask())).status, 200);
  });

  test('from a stranger is not read at all', async (t) => {
    const { metrics, port } = await start(t);
    const answer = await call(port, {}, '/v1/sign', 'x'.repeat(1_000)).catch(() => undefined);
    assert.ok(answer === undefined || answer.status === 401);
    await eventually('it to be counted', async () =>
      (await metrics.registry.metrics()).includes('dcred_signer_http_requests_total{code="401"} 1') ? true : undefined,
    );
  });
});

test('connections that never speak do not keep others out, and go with the server', async (t) => {
  const { port } = await start(t);
  const idle = Array.from({ length: 100 }, () => connectTcp(port, '127.0.0.1').on('error', () => {}));
  assert.equal((await sign(port, EU, ask())).status, 200);
  for (const socket of idle) socket.destroy();
});
