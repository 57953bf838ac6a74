/** `dcred probe` against real servers: BoringSSL and tlslite-ng with a credential, OpenSSL without, and hostile ones. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { UsageError } from '../../src/cli/command.ts';
import { probeCommand } from '../../src/cli/credential/probe.ts';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { credentialFiles } from '../../src/credential/files.ts';
import { issueCredential } from '../../src/credential/issue.ts';
import type { KeyAlgorithm, Usage } from '../../src/credential/scheme.ts';
import { signerFromPem } from '../../src/credential/signer.ts';
import { alertName } from '../../src/text/tls-alert.ts';
import { startBoringServer } from '../../testing/peers/boringssl-server.ts';
import { findPeers } from '../../testing/peers/peers.ts';
import { findTlslite } from '../../testing/peers/tlslite.ts';
import { authority, leaf } from '../../testing/support/openssl.ts';
import { runCommand, temporaryDirectory } from '../cli/run-command.ts';
import { nginxMissing, Pod } from '../examples/nginx.ts';
import { startTlsServer } from './tls-server.ts';

const NAME = 'web.example';
const [peers, tlslite] = [await findPeers(), await findTlslite()];
const absent = (peers.available ? undefined : peers.reason) ?? (tlslite.available ? undefined : tlslite.reason);
const ca = authority();
const made = leaf({ issuer: ca });

async function caFile(t: TestContext): Promise<string> {
  const file = join(temporaryDirectory(t), 'ca.crt');
  await writeFile(file, ca.certificatePem);
  return file;
}

/** The default is for a person who waits, and a busy machine needs longer. */
const UNHURRIED = ['--timeout', '2m'];

async function probe(t: TestContext, port: number, ...more: readonly string[]) {
  const limit = more.includes('--timeout') ? [] : UNHURRIED;
  const argv = [`127.0.0.1:${port}`, '--sni', NAME, '--ca', await caFile(t), ...limit, ...more];
  return await runCommand(probeCommand, argv);
}

/** The files of an issued Secret, with the leaf's key for clients without support. */
async function issue(algorithm: KeyAlgorithm, options: { usage?: Usage; now?: number } = {}) {
  const { now = Math.floor(Date.now() / 1_000), usage = 'Server' } = options;
  const directory = await mkdtemp(join(tmpdir(), 'dcred-probe-'));
  const certificate = readDelegationCertificate(made.certificatePem);
  const key = await generateCredentialKey(algorithm);
  const signer = signerFromPem(made.keyPem);
  const issued = await issueCredential({ certificate, signer, key, usage, lifetimeSeconds: 7_200, now });
  const files = credentialFiles({ certificate, key, issued });
  for (const [name, content] of files) await writeFile(join(directory, name), content);
  const leafKeyFile = join(directory, 'leaf.key');
  await writeFile(leafKeyFile, made.keyPem);
  return { directory, leafKeyFile, [Symbol.asyncDispose]: () => rm(directory, { recursive: true }) };
}

test('a name is sent and verified as TLS has it, whatever the way it is written', async (t) => {
  const named = leaf({ issuer: ca, subjectAltName: 'DNS:xn--bcher-kva.example' });
  const seen: string[] = [];
  const SNICallback = (name: string, done: (error: null) => void) => {
    seen.push(name);
    done(null);
  };
  await using server = await startTlsServer({ cert: named.certificatePem, key: named.keyPem, SNICallback });
  for (const name of [
    'b\u00fccher.example',
    'B\u00dcCHER.example.',
    'xn--bcher-kva.example',
    'xn--bcher-kva.example.',
  ]) {
    const { status, stdout } = await probe(t, server.port, '--sni', name);
    assert.equal(status, 0, `${name}: ${stdout}`);
  }
  assert.deepEqual([...new Set(seen)], ['xn--bcher-kva.example']);
});

test('what is no name is wrong usage, before anything is sent', async (t) => {
  for (const name of ['.example', '.', 'a b', '\u001b[2J', 'a/b', 'x'.repeat(254), '\u{1f512}\u200b\u202e ']) {
    await assert.rejects(probe(t, 1, '--sni', name), UsageError, JSON.stringify(name));
  }
  await assert.rejects(runCommand(probeCommand, ['.example:1']), UsageError);
});

describe('a server with a delegated credential', { skip: absent ?? false }, () => {
  for (const algorithm of ['ECDSAP256', 'ECDSAP384', 'ECDSAP521'] as const) {
    test(`BoringSSL with ${algorithm}: served, verified, and what other clients get`, async (t) => {
      assert.ok(peers.available);
      await using served = await issue(algorithm);
      await using server = await startBoringServer({ binary: peers.serverBinary, ...served });
      const { status, stdout } = await probe(t, server.port, '--expect-dc');
      assert.equal(status, 0, stdout);
      assert.match(stdout, /^delegated credential\s+served$/m);
      assert.match(stdout, /^TLS 1\.3, no support for credentials\s+the same certificate/m);
      // BoringSSL confirms it: the client's Finished arrived, and it counts the first connection as delegated.
      assert.equal(await server.nextLine(), 'delegated');
    });
  }

  test('the JSON names the credential as the Secret does', async (t) => {
    assert.ok(peers.available);
    await using served = await issue('ECDSAP256');
    await using server = await startBoringServer({ binary: peers.serverBinary, ...served });
    const { stdout } = await probe(t, server.port, '-o', 'json');
    const sha256 = createHash('sha256')
      .update(await readFile(join(served.directory, 'dc.bin')))
      .digest('hex');
    const { delegatedCredentials, tls12 } = JSON.parse(stdout);
    assert.equal(delegatedCredentials.credential.sha256, sha256);
    assert.equal(delegatedCredentials.signatureScheme, 'ecdsa_secp256r1_sha256');
    assert.equal(tls12.ok, false, 'the server has TLS 1.3 only');
  });

  test('an expired credential, which BoringSSL goes on serving, is named as the failure', async (t) => {
    assert.ok(peers.available);
    await using served = await issue('ECDSAP256');
    await using server = await startBoringServer({ binary: peers.serverBinary, ...served });
    const argv = [`127.0.0.1:${server.port}`, '--sni', NAME, '--ca', await caFile(t), ...UNHURRIED];
    const later = Math.floor(Date.now() / 1_000) + 8_000;
    const { status, stdout } = await runCommand(probeCommand, argv, { now: later });
    assert.equal(status, 1);
    assert.match(stdout, /^failed {2}the credential has not expired: the credential expired at /m);
  });

  test('a credential for clients is named as the failure', async (t) => {
    assert.ok(peers.available);
    await using served = await issue('ECDSAP256', { usage: 'Client' });
    await using server = await startBoringServer({ binary: peers.serverBinary, ...served });
    const { status, stdout } = await probe(t, server.port);
    assert.equal(status, 1);
    assert.match(stdout, /^failed .*signed.*Server/m);
  });

  test('tlslite-ng: served and verified', async (t) => {
    assert.ok(tlslite.available);
    await using served = await issue('ECDSAP256');
    await using server = await tlslite.serve(served.directory, 'dc.pem');
    const { status, stdout } = await probe(t, server.port, '--expect-dc');
    assert.equal(status, 0, stdout);
  });
});

describe('a server without one', () => {
  const identity = { cert: made.certificatePem + ca.certificatePem, key: made.keyPem };

  test('is healthy, unless --expect-dc is set', async (t) => {
    await using server = await startTlsServer(identity);
    const { status, stdout } = await probe(t, server.port);
    assert.equal(status, 0, stdout);
    assert.match(stdout, /^delegated credential\s+none \(the certificate would allow one\)$/m);
    assert.match(stdout, /^TLS 1\.2\s+the same certificate/m);
    const strict = await probe(t, server.port, '--expect-dc');
    assert.equal(strict.status, 1);
    assert.match(strict.stdout, /^failed {2}a delegated credential is served: the server sent none/m);
  });

  test('with another name or another CA has that as its failure', async (t) => {
    await using server = await startTlsServer(identity);
    const renamed = await runCommand(probeCommand, [
      `127.0.0.1:${server.port}`,
      '--sni',
      'other.test',
      '--ca',
      await caFile(t),
      ...UNHURRIED,
    ]);
    assert.equal(renamed.status, 1);
    assert.match(renamed.stdout, /^failed {2}the certificate is for other\.test: it is for web\.example/m);
    const untrusted = await runCommand(probeCommand, [`127.0.0.1:${server.port}`, '--sni', NAME, ...UNHURRIED]);
    assert.equal(untrusted.status, 1);
    assert.match(untrusted.stdout, /^failed {2}the chain leads to a trusted CA: /m);
  });

  test('with TLS 1.2 alone is reported as that', async (t) => {
    await using server = await startTlsServer({ ...identity, maxVersion: 'TLSv1.2' });
    const { status, stdout } = await probe(t, server.port);
    assert.equal(status, 1);
    assert.match(stdout, /protocol_version/);
    assert.match(stdout, /^TLS 1\.2\s+certificate [0-9a-f]{64}/m);
    assert.match(
      stdout,
      /^TLS 1\.3, no support for credentials\s+failed: the server refuses the TLS handshake: protocol_version$/m,
    );
  });
});

describe('the alert with which a server refuses an OpenSSL client', () => {
  /** Answers the first bytes of each connection with these. */
  async function answering(t: TestContext, answer: Uint8Array): Promise<number> {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.end(answer));
    });
    t.after(() => server.close());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  /** All fatal alerts of RFC 8446. */
  const FATAL = [
    10, 20, 22, 40, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 70, 71, 80, 86, 109, 110, 112, 113, 115, 116, 120,
  ];

  test('is named, whatever the alert', async (t) => {
    for (const description of FATAL) {
      const port = await answering(t, Uint8Array.of(21, 3, 3, 0, 2, 2, description));
      const { stdout } = await probe(t, port, '-o', 'json');
      const { tls12, withoutDelegatedCredentials } = JSON.parse(stdout);
      for (const { message } of [tls12, withoutDelegatedCredentials]) {
        assert.equal(message, `the server refuses the TLS handshake: ${alertName(description)}`);
      }
    }
  });

  test('is another protocol, where it does not speak TLS', async (t) => {
    const { stdout } = await probe(t, await answering(t, Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')));
    assert.match(stdout, /^TLS 1\.2\s+failed: expected TLS, found another protocol \(wrong version number\)$/m);
  });
});

const noNginx = await nginxMissing();

describe('nginx, on OpenSSL', { skip: process.env['CI'] === 'true' ? false : (noNginx ?? false) }, () => {
  test('serves its certificate alone, to clients of TLS 1.2 and 1.3 with and without support', async (t) => {
    const pod = await Pod.create(t);
    const [certificate, key] = ['web.crt', 'web.key'].map((name) => join(pod.directory, name));
    await writeFile(certificate ?? '', made.certificatePem + ca.certificatePem);
    await writeFile(key ?? '', made.keyPem);
    const configuration = `
      daemon off; error_log stderr; pid ${join(pod.directory, 'nginx.pid')};
      events {}
      http {
        access_log off;
        client_body_temp_path ${join(pod.directory, 'tmp')};
        server {
          listen 127.0.0.1:${pod.port} ssl;
          ssl_protocols TLSv1.2 TLSv1.3;
          ssl_certificate ${certificate};
          ssl_certificate_key ${key};
          ssl_ecdh_curve P-256;
        }
      }`;
    const file = join(pod.directory, 'nginx.conf');
    await writeFile(file, configuration);
    await pod.start(t, file);
    const { status, stdout } = await probe(t, pod.port, '--alpn', 'http/1.1');
    assert.equal(status, 0, stdout);
    assert.match(stdout, /^delegated credential\s+none/m);
    assert.match(stdout, /after a HelloRetryRequest$/m);
    assert.match(stdout, /^ALPN\s+http\/1\.1$/m);
    assert.match(stdout, /^TLS 1\.2\s+the same certificate/m);
    assert.equal((await probe(t, pod.port, '--expect-dc')).status, 1);
  });
});

describe('a peer that is not a TLS server', () => {
  /** A fake: a real server cannot be made to answer so. */
  async function fake(t: TestContext, answer: (socket: Socket) => void): Promise<number> {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      answer(socket);
    });
    t.after(() => server.close());
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  test('nothing listens', async (t) => {
    const { status, stdout } = await probe(t, 1);
    assert.equal(status, 1);
    assert.match(stdout, /ECONNREFUSED/);
  });

  test('it hangs up, or speaks another protocol', async (t) => {
    const closing = await probe(t, await fake(t, (socket) => socket.end()));
    assert.match(closing.stdout, /closed the connection where its ServerHello was expected/);
    const web = await probe(t, await fake(t, (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')));
    assert.match(web.stdout, /does not speak TLS/);
  });

  test('it says nothing: the time limit ends the probe', async (t) => {
    const sockets: Socket[] = [];
    const port = await fake(t, (socket) => sockets.push(socket));
    const { status, stdout } = await probe(t, port, '--timeout', '1s');
    assert.equal(status, 1);
    assert.match(stdout, /^failed .*no answer within the time limit \(Timeout\)$/m);
    for (const socket of sockets) socket.destroy();
  });

  test('it floods the client: the flood is cut off', async (t) => {
    const noise = Buffer.concat([Uint8Array.of(22, 3, 3, 0x40, 0), new Uint8Array(16_384)]);
    const port = await fake(t, (socket) => {
      let left = 1_000;
      const pour = () => {
        while (!socket.destroyed && left-- > 0 && socket.write(noise));
        // OpenSSL takes the noise for HelloRequests, and reads all of them.
        if (left < 0) socket.end();
      };
      socket.on('drain', pour);
      pour();
    });
    const { status, stdout } = await probe(t, port);
    assert.equal(status, 1);
    assert.match(stdout, /^failed .*\(Unexpected\)$/m);
  });
});

describe('STARTTLS', () => {
  test('is negotiated with SMTP and IMAP, and refused where text follows the answer', async (t) => {
    for (const [protocol, lines] of [
      ['smtp', ['220 mail.example ESMTP\r\n', '250-mail.example\r\n250 STARTTLS\r\n', '220 go ahead\r\n']],
      ['imap', ['* OK ready\r\n', 'a1 OK begin\r\n']],
    ] as const) {
      await using tls = await startTlsServer({ cert: made.certificatePem + ca.certificatePem, key: made.keyPem });
      const plain = createServer((socket) => dialogue(socket, [...lines], tls.port));
      t.after(() => plain.close());
      plain.listen(0, '127.0.0.1');
      await once(plain, 'listening');
      const { port } = plain.address() as AddressInfo;
      const { status, stdout } = await probe(t, port, '--starttls', protocol);
      assert.equal(status, 0, stdout);
    }
  });
});

/** Speaks the plain part, then passes everything on to the TLS server. */
function dialogue(socket: Socket, lines: string[], tlsPort: number): void {
  socket.on('error', () => {});
  socket.write(lines.shift() ?? '');
  const onData = () => {
    const line = lines.shift();
    if (line !== undefined) socket.write(line);
    if (lines.length > 0) return;
    socket.off('data', onData);
    const upstream = connect(tlsPort, '127.0.0.1');
    upstream.on('error', () => socket.destroy());
    socket.pipe(upstream).pipe(socket);
  };
  socket.on('data', onData);
}
