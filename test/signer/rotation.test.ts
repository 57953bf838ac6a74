/** The CA of client certificates, and the keys of an issuer, are replaced while the signer runs, for kept connections too. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { type TestContext, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { exportJWK } from 'jose';
import { makeDevCertificate } from '../../src/provision/dev-authority.ts';
import { FOLLOW_PATH, formatSignCall, SIGN_PATH } from '../../src/signer/protocol.ts';
import { ask, type Caller, EU, ISSUER, NOW, operator, serving, sign, start, token } from './running-signer.ts';

const next = await makeDevCertificate({ dnsNames: ['operator.eu'], now: NOW, lifetimeSeconds: 86_400 });
const NEXT: Caller = { cert: next.certificate, key: next.key };
const SERVER = { host: '127.0.0.1', servername: 'signer.vault.svc', ca: serving.authority };

/**
 * Calls over one kept connection, which resumes its TLS session when it connects again. A call whose connection closes before the answer
 * is repeated, as clients do.
 */
function keptBy(t: TestContext, port: number, caller: Caller) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const call = async (path = SIGN_PATH, body = formatSignCall([ask()])): Promise<number> => {
    const sent = request({ ...SERVER, ...caller, agent, port, path, method: 'POST' });
    sent.end(body);
    const answered = (await once(sent, 'response').catch(() => undefined)) as [IncomingMessage] | undefined;
    if (answered === undefined) return await call(path, body);
    const [response] = answered;
    response.resume();
    await once(response, 'end');
    return response.statusCode ?? 0;
  };
  return call;
}

test('a client certificate of the previous CA no longer counts, not even on kept connections or in resumed sessions', async (t) => {
  const { port, signer } = await start(t);
  const kept = keptBy(t, port, EU);
  assert.equal(await kept(), 200);
  assert.equal(await kept(), 200);
  assert.equal((await sign(port, NEXT, ask())).status, 401);

  signer.useClientCa(next.authority);
  assert.equal((await sign(port, NEXT, ask())).status, 200);
  assert.equal((await sign(port, EU, ask())).status, 401);
  // The signer closes the connection, so the agent connects again.
  assert.equal(await kept(), 401);
  assert.equal(await kept(), 401);
});

test('one whose CA is still in the bundle keeps working, on a new connection', async (t) => {
  const { port, signer } = await start(t);
  const kept = keptBy(t, port, EU);
  assert.equal(await kept(), 200);
  signer.useClientCa(`${operator.authority}${next.authority}`);
  assert.equal(await kept(), 200);
  assert.equal((await sign(port, NEXT, ask())).status, 200);
  // A serving certificate that is replaced later leaves the CA as it is.
  signer.useServingCertificate(serving.certificate, serving.key);
  assert.equal((await sign(port, NEXT, ask())).status, 200);
});

test('a connection that began before the CA was replaced, and whose handshake ends after it, proves nothing', async (t) => {
  const { port, signer } = await start(t);
  const socket = connectTcp(port, '127.0.0.1');
  await once(socket, 'connect');
  // The signer has accepted it once it has answered another one.
  assert.equal((await sign(port, EU, ask())).status, 200);
  signer.useClientCa(next.authority);
  const tls = connectTls({ ...SERVER, ...EU, socket });
  t.after(() => tls.destroy());
  await once(tls, 'secureConnect');
  const body = formatSignCall([ask()]);
  const head = `POST ${SIGN_PATH} HTTP/1.1\r\nhost: signer\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n`;
  tls.write(head + body);
  const [answer] = (await once(tls, 'data')) as [Buffer];
  assert.match(answer.toString(), /^HTTP\/1\.1 503 /);
  assert.match(answer.toString().toLowerCase(), /\r\nconnection: close\r\n/);
});

test('a call that waits for news of a certificate ends with the CA that it was authenticated by', async (t) => {
  const { port, signer } = await start(t);
  const kept = keptBy(t, port, EU);
  const known = [{ certificate: 'vault/web-tls', namespace: 'edge' }];
  assert.equal(await kept(FOLLOW_PATH, JSON.stringify({ known, waitSeconds: 0 })), 200);
  const version = 'none';
  const waiting = kept(
    FOLLOW_PATH,
    JSON.stringify({ known: [{ ...known[0], namespace: 'nobody', version }], waitSeconds: 25 }),
  );
  // In progress once another call on its own connection is answered.
  assert.equal((await sign(port, EU, ask())).status, 200);
  signer.useClientCa(next.authority);
  assert.ok([200, 503].includes(await waiting));
  assert.equal(await kept(), 401);
});

test('a token is verified with the keys that its issuer publishes now', async (t) => {
  const { port, signer } = await start(t);
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const old = { token: await token() };
  const renewed = { token: await token({}, keys.privateKey) };
  const kept = keptBy(t, port, {});
  assert.equal(await kept(), 401);
  assert.equal((await sign(port, old, ask())).status, 200);
  assert.equal((await sign(port, renewed, ask())).status, 401);
  signer.useKeySet(ISSUER, { keys: [{ ...(await exportJWK(keys.publicKey)), alg: 'ES256', kid: 'two' }] });
  assert.equal((await sign(port, renewed, ask())).status, 200);
  assert.equal((await sign(port, old, ask())).status, 401);
});
