import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Releases } from '../../testing/controlplane/releases.ts';
import { tryRun } from '../../testing/support/processes.ts';
import { sha256, startStandIn } from '../testing/controlplane/stand-in.ts';

const SCRIPT = join(import.meta.dirname, '..', '..', 'scripts', 'pin-downloads.ts');
const OLD = '0'.repeat(64);

/** The content of the stand-in's file at a path: the path. */
const bytesOf = (path: string) => Buffer.from(path);
const hashOf = (path: string) => sha256(bytesOf(path));

const honest: RequestListener = (request, response) => {
  const path = request.url ?? '';
  if (path.endsWith('.sha256')) return void response.end(hashOf(path.replace('.sha256', '')));
  if (path.endsWith('SHA256SUMS')) {
    const files = ['etcd-v9-linux-arm64.tar.gz', 'etcd-v9-linux-amd64.tar.gz'];
    return void response.end(files.map((file) => `${hashOf(`/v9/${file}`)}  ${file}\n`).join(''));
  }
  response.end(bytesOf(path));
};

function releases(url: string): Releases {
  const files = { kubectl: OLD };
  const kubernetes = { version: 'v1', url: `${url}/{version}/{os}/{arch}/{name}`, sha256: { 'linux/amd64': files } };
  const etcd = {
    version: 'v3',
    url: `${url}/{version}/etcd-{version}-{os}-{arch}.tar.gz`,
    member: '{name}',
    names: ['etcd'],
  };
  return {
    kubernetes: { ...kubernetes, checksums: `${url}/{version}/{os}/{arch}/{name}.sha256` },
    etcd: { ...etcd, checksums: `${url}/{version}/SHA256SUMS`, sha256: { 'linux/amd64': OLD } },
  };
}

describe('pin-downloads', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'dcred-pin-'));
  });
  after(() => rm(folder, { recursive: true }));

  async function pin(listener: RequestListener) {
    await using server = await startStandIn(listener);
    const [file, ca] = [join(folder, 'releases.json'), join(folder, 'ca.crt')];
    const before = `${JSON.stringify(releases(server.url), null, 2)}\n`;
    await Promise.all([writeFile(file, before), writeFile(ca, server.ca)]);
    const args = [SCRIPT, '--kubernetes=v8', '--etcd=v9', `--releases=${file}`];
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: ca };
    const result = await tryRun(process.execPath, args, { env });
    return { ...result, before, after: await readFile(file, 'utf8') };
  }

  test("takes the projects' own checksums, of the version that was given, once they fit the files", async () => {
    const { after: written, stderr, status } = await pin(honest);
    assert.equal(status, 0, stderr);
    const pinned = JSON.parse(written) as Releases;
    assert.deepEqual(pinned['kubernetes']?.sha256, { 'linux/amd64': { kubectl: hashOf('/v8/linux/amd64/kubectl') } });
    assert.deepEqual(pinned['etcd']?.sha256, { 'linux/amd64': hashOf('/v9/etcd-v9-linux-amd64.tar.gz') });
    assert.deepEqual([pinned['kubernetes']?.version, pinned['etcd']?.version], ['v8', 'v9']);
  });

  const dishonest: Readonly<Record<string, readonly [RequestListener, RegExp]>> = {
    'the checksum is of another file': [
      (request, response) =>
        request.url?.endsWith('.sha256') === true ? void response.end(hashOf('another')) : honest(request, response),
      /expected SHA-256 [0-9a-f]{64}, found/,
    ],
    'the checksum file lacks the file': [
      (request, response) =>
        request.url?.endsWith('SHA256SUMS') === true
          ? void response.end(`${OLD}  another.tar.gz\n`)
          : honest(request, response),
      /expected one SHA-256 of etcd-v9-linux-amd64\.tar\.gz in its checksum file, found 0/,
    ],
    'there is no checksum file': [
      (request, response) =>
        request.url?.endsWith('.sha256') === true ? void response.writeHead(404).end() : honest(request, response),
      /expected status 200, found 404/,
    ],
  };
  for (const [what, [listener, message]] of Object.entries(dishonest)) {
    test(`changes nothing where ${what}`, async () => {
      const { after: written, before: unchanged, stderr, status } = await pin(listener);
      assert.equal(status, 1);
      assert.match(stderr, message);
      assert.equal(written, unchanged);
    });
  }
});
