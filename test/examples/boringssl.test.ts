/** The example's server, compiled with the flags of its Dockerfile, serves issued credentials to NSS, and each new one. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { signerFromPem } from '../../src/credential/signer.ts';
import { createNssClient } from '../../testing/peers/nss-client.ts';
import { findPeers } from '../../testing/peers/peers.ts';
import type { Delegation } from '../../testing/support/builders.ts';
import { buildOnce } from '../../testing/support/cache.ts';
import { authority, leaf } from '../../testing/support/openssl.ts';
import { endChild } from '../../testing/support/processes.ts';
import { credential, emptyMount, type Mount } from '../agent/mount.ts';
import { ROOT } from '../chart/chart.ts';
import { read } from './examples.ts';

const SOURCE = 'examples/boringssl/server.c';
const WARNINGS_ARE_ERRORS = ['-Werror'];
const run = promisify(execFile);
const peers = await findPeers();
const ca = authority();

/** Runs the Dockerfile's command, with other paths. */
async function compile(): Promise<string> {
  const dockerfile = await read('examples/boringssl/Dockerfile');
  const command = /&& (gcc [\s\S]*?)\n\n/.exec(dockerfile)?.[1]?.replaceAll(/\\\n/g, ' ') ?? '';
  assert.match(command, /^gcc .*-o \/server \/src\/server\.c/);
  const { stdout } = await run('gcc', ['-print-multiarch']);
  const libraries = `/usr/lib/${stdout.trim()}/android`;
  const key = [await read(SOURCE), command, libraries, process.arch].join('\n');
  const directory = await buildOnce('example-server', key, async (output) => {
    const places: Readonly<Record<string, string>> = {
      '/server': join(output, 'server'),
      '/src/server.c': join(ROOT, SOURCE),
    };
    const words = command.replaceAll('"$libraries"', libraries).split(/\s+/).slice(1);
    await run('gcc', [...words.map((word) => places[word] ?? word), ...WARNINGS_ARE_ERRORS]);
  });
  return join(directory, 'server');
}

function delegationOf(name = 'CN=web.example'): Delegation {
  const made = leaf({ issuer: ca, subject: `/${name}` });
  return {
    chainPem: made.certificatePem,
    keyPem: made.keyPem,
    certificate: readDelegationCertificate(made.certificatePem),
    signer: signerFromPem(made.keyPem),
  };
}

interface Server {
  readonly port: number;
  nextLine(): Promise<string>;
}

async function start(t: TestContext, mount: Mount): Promise<Server> {
  const child = spawn(await compile(), [mount.directory, '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => endChild(child));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async () => {
    const { done, value } = await lines.next();
    assert.notEqual(done, true, 'the server has exited');
    return value as string;
  };
  assert.match(await nextLine(), /^loaded \.\.\d{4}_/);
  const port = Number(/^listening (\d+)$/.exec(await nextLine())?.[1]);
  return { port, nextLine };
}

describe('the BoringSSL example', { skip: peers.available ? false : peers.reason }, () => {
  test('serves its credential to NSS, and the next one from the next connection on', async (t) => {
    const delegation = delegationOf();
    const mount = await emptyMount(t);
    await mount.put(await credential({}, delegation));
    await using client = await createNssClient(ca.certificatePem);
    const server = await start(t, mount);
    const connect = () => client.connect({ port: server.port, name: 'web.example' });
    const first = await connect();
    assert.ok(first.connected && first.receivedCredential, first.output);
    assert.equal(await server.nextLine(), 'delegated');

    const version = await mount.put(await credential({}, delegation));
    const second = await connect();
    assert.ok(second.connected && second.receivedCredential, second.output);
    assert.equal(await server.nextLine(), `loaded ${version}`);
    assert.equal(await server.nextLine(), 'delegated');
  });

  test('keeps its credential when the new files cannot be loaded', async (t) => {
    const delegation = delegationOf();
    const mount = await emptyMount(t);
    await mount.put(await credential({}, delegation));
    await using client = await createNssClient(ca.certificatePem);
    const server = await start(t, mount);
    const other = await credential({}, delegation);
    const mixed = new Map([...(await credential({}, delegation)), ['dc.key', other.get('dc.key') ?? '']]);
    const version = await mount.put(mixed);
    const outcome = await client.connect({ port: server.port, name: 'web.example' });
    assert.ok(outcome.connected && outcome.receivedCredential, outcome.output);
    assert.equal(await server.nextLine(), `cannot load ${version}`);
    assert.equal(await server.nextLine(), 'delegated');
  });

  test("refuses clients without support, because it does not have the leaf's key", async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential({}, delegationOf()));
    await using client = await createNssClient(ca.certificatePem);
    const server = await start(t, mount);
    const outcome = await client.connect({ port: server.port, name: 'web.example', credentials: false });
    assert.equal(outcome.connected, false);
    assert.match(await server.nextLine(), /^refused /);
  });
});
