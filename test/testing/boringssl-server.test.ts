/** The tests' BoringSSL server, where a fault of its own would look like dcred's. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { signerFromPem } from '../../src/credential/signer.ts';
import { makeSecret } from '../../src/operator/pods/issuer.ts';
import { startBoringServer } from '../../testing/peers/boringssl-server.ts';
import { findPeers } from '../../testing/peers/peers.ts';
import { specOf } from '../../testing/support/builders.ts';
import { createTestAuthority } from '../../testing/support/certificates.ts';

const peers = await findPeers();
const ROUNDS = 50;

test('a SIGHUP in the middle of a handshake does not end it', {
  skip: peers.available ? false : peers.reason,
}, async (t) => {
  assert.ok(peers.available);
  const folder = await mkdtemp(join(tmpdir(), 'dcred-boringssl-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const leaf = await (await createTestAuthority()).issue();
  const secret = await makeSecret(
    {
      namespace: 'edge',
      name: 'web-0',
      resourceName: 'web',
      pod: { name: 'web-0', uid: 'u' },
      spec: specOf(),
      certificate: readDelegationCertificate(leaf.certificatePem),
      signer: signerFromPem(leaf.keyPem),
      replaces: undefined,
      now: Math.floor(Date.now() / 1000),
    },
    generateCredentialKey,
    t.signal,
  );
  for (const [name, content] of Object.entries(secret.data)) {
    await writeFile(join(folder, name), Buffer.from(content, 'base64'));
  }
  await writeFile(join(folder, 'leaf.key'), leaf.keyPem);
  const options = { binary: peers.serverBinary, directory: folder, leafKeyFile: join(folder, 'leaf.key') };
  await using server = await startBoringServer(options);
  for (let round = 0; round < ROUNDS; round += 1) {
    const socket = connect(server.port, '127.0.0.1');
    await once(socket, 'connect');
    // The server is waiting for the ClientHello by now, or soon will be.
    const lines = [server.reload(), server.nextLine()];
    const secure = connectTls({ socket, rejectUnauthorized: false });
    let received = '';
    secure.setEncoding('utf8').on('data', (text: string) => (received += text));
    // The server closes without waiting for the client, which may then see a reset.
    secure.on('error', () => {});
    secure.write('GET / HTTP/1.0\r\n\r\n');
    await once(secure, 'close');
    assert.match(received, /^HTTP\/1\.1 200 OK/, `in round ${round}`);
    assert.deepEqual((await Promise.all(lines)).toSorted(), ['ordinary', 'reloaded']);
  }
});
