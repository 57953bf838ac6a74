import assert from 'node:assert/strict';
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { type BoringServer, startBoringServer } from '../../testing/peers/boringssl-server.ts';
import { createNssClient, type NssClient } from '../../testing/peers/nss-client.ts';
import { findPeers } from '../../testing/peers/peers.ts';
import { delegation } from '../../testing/support/builders.ts';
import { authority } from '../../testing/support/openssl.ts';
import { type AgentProcess, startAgent } from './agent-process.ts';
import { credential, emptyMount, type Mount, type SecretFiles } from './mount.ts';
import { freshName } from './server-process.ts';

/** A real server that reads its files on SIGHUP only, signalled by the agent, and a real client that checks what it serves. */

const peers = await findPeers();
const absent = peers.available ? undefined : peers.reason;

test('BoringSSL and NSS are available', { skip: process.env['CI'] === 'true' ? false : (absent ?? false) }, () => {
  assert.equal(absent, undefined, 'in CI the real peers must be there');
});

describe('a BoringSSL server that the agent notifies', { skip: absent ?? false }, () => {
  if (!peers.available) return;
  const { serverBinary } = peers;
  const ca = authority();
  const [first, second] = [delegation({ issuer: ca }), delegation({ issuer: ca })];
  const NAME = 'web.example';

  interface Setting {
    readonly mount: Mount;
    readonly server: BoringServer;
    readonly client: NssClient;
    readonly agent: AgentProcess;
  }

  /** The agent starts before the server, as a native sidecar does. */
  async function setting(t: TestContext, files: SecretFiles): Promise<Setting> {
    const mount = await emptyMount(t);
    await mount.put(files);
    const directory = await mkdtemp(join(tmpdir(), 'dcred-bssl-'));
    // A name that no other process has.
    const name = freshName();
    await copyFile(serverBinary, join(directory, name));
    const agent = await startAgent(t, ['--dir', mount.directory, '--reload', `signal:HUP:${name}`]);
    await agent.untilReady();
    const server = await startBoringServer({ binary: join(directory, name), directory: mount.directory });
    const client = await createNssClient(ca.certificatePem);
    t.after(async () => {
      await client[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
      await rm(directory, { recursive: true });
    });
    return { mount, server, client, agent };
  }

  /** One handshake; what both sides report. */
  async function visit({ client, server }: Setting) {
    const outcome = await client.connect({ port: server.port, name: NAME });
    return { server: await server.nextLine(), ...outcome };
  }

  test('serves the new credential after a re-issue, and NSS accepts it', async (t) => {
    const web = await setting(t, await credential({}, first));
    const { agent } = web;
    assert.ok((await visit(web)).receivedCredential);

    // Under another certificate: what the server had loaded would be refused with it.
    await web.mount.put(await credential({}, second));
    assert.equal(await web.server.nextLine(), 'reloaded');
    await agent.logged('reloaded the server');
    const after = await visit(web);
    assert.ok(after.receivedCredential && after.connected, after.output);
    assert.equal(after.server, 'delegated');
    assert.match(
      (await agent.get('/metrics')).body,
      /dcred_agent_reloads_total\{target="signal:HUP:[^"]+",outcome="ok"\} 1/,
    );
    assert.equal(await agent.stop(), 0);
  });

  test('is not reloaded for a mixed pair, and keeps serving the one it has', async (t) => {
    const web = await setting(t, await credential({}, first));
    const { agent } = web;
    const [one, other] = [await credential({}, first), await credential({}, first)];
    await web.mount.put(new Map([...one, ['dc.key', other.get('dc.key') ?? '']]));
    const { detail, reason } = await agent.logged('mounted credential is not valid, not reloading');
    assert.equal(reason, 'KeyMismatch', String(detail));
    assert.ok((await visit(web)).receivedCredential, 'a reload would have been its next line');

    await web.mount.put(other);
    assert.equal(await web.server.nextLine(), 'reloaded');
    assert.ok((await visit(web)).receivedCredential);
  });
});
