import assert from 'node:assert/strict';
import { access, constants, mkdir, mkdtemp, readdir, readFile, rm, utimes } from 'node:fs/promises';
import type { RequestListener, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import type { BuildProgress } from '../../../testing/controlplane/build-progress.ts';
import { type DownloadedOptions, downloadedBinaries } from '../../../testing/controlplane/downloaded.ts';
import { downloadsFor, readReleases } from '../../../testing/controlplane/releases.ts';
import { freePort } from '../../../testing/support/ports.ts';
import { PROXIED_HOST, pins, startProxy, startStandIn, tarGz } from './stand-in.ts';

const KUBECTL = Buffer.from(`#!/bin/sh\n${'# kubectl\n'.repeat(50_000)}`);
const ETCD = '#!/bin/sh\necho etcd\n';
const ARCHIVE = tarGz([
  { name: '../../outside', content: 'must not appear' },
  { name: '/absolute', content: 'must not appear' },
  { name: 'etcd-v3/README.md', content: 'read me' },
  { name: 'etcd-v3/etcd', content: ETCD },
  { name: 'etcd-v3/etcdctl', content: `${ETCD}# ctl\n` },
]);
/** Long enough for any machine where an answer is expected, and short where none is. */
const PATIENT = { answerTimeoutMs: 60_000, totalTimeoutMs: 120_000 };
const HURRIED = { answerTimeoutMs: 200, totalTimeoutMs: 400 };

const serve: RequestListener = (request, response) => {
  response.end(request.url === '/kubectl' ? KUBECTL : ARCHIVE);
};
const serving = (answer: (response: ServerResponse) => void) => startStandIn((_request, response) => answer(response));

describe('downloaded binaries', () => {
  let folder: string;
  let cache: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'dcred-downloads-'));
  });
  beforeEach(async () => {
    cache = await mkdtemp(join(folder, 'cache-'));
  });
  after(() => rm(folder, { recursive: true }));

  async function fetchNow(names: readonly string[], options: DownloadedOptions) {
    const progress: BuildProgress[] = [];
    const env = { XDG_CACHE_HOME: cache, ...options.env };
    const found = await downloadedBinaries(names, {
      ...PATIENT,
      ...options,
      env,
      onProgress: (step) => progress.push(step),
    });
    const reasons = progress.flatMap((step) => (step.state === 'not downloaded' ? [step.reason] : []));
    return { found, progress, reasons };
  }

  /** Every file below the cache, by name. */
  async function files(): Promise<readonly string[]> {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name);
  }

  async function assertRefused(names: readonly string[], options: DownloadedOptions, reason: RegExp): Promise<void> {
    const { found, reasons } = await fetchNow(names, options);
    assert.equal(found.size, 0);
    assert.equal(reasons.length, 1);
    assert.match(reasons[0] ?? '', reason);
    const left = (await readdir(cache, { recursive: true, withFileTypes: true })).filter((one) => !one.isDirectory());
    assert.deepEqual(left, [], 'nothing remains');
  }

  test('appear whole and executable, one archive once for all that it holds, and are not fetched again', async () => {
    await using server = await startStandIn(serve);
    const releases = pins(server.url, { kubectl: KUBECTL, etcd: ARCHIVE });
    const names = ['kubectl', 'etcd', 'etcdctl'];
    const { found, progress } = await fetchNow(names, { releases, ca: server.ca });
    assert.deepEqual([...found.keys()], names);
    for (const path of found.values()) await access(path, constants.X_OK);
    assert.deepEqual(await readFile(found.get('kubectl') ?? ''), KUBECTL);
    assert.equal(await readFile(found.get('etcd') ?? '', 'utf8'), ETCD);
    assert.deepEqual((await readdir(dirname(found.get('etcd') ?? ''))).sort(), [...names].sort());
    assert.equal(progress.at(-1)?.state, 'downloaded');
    assert.deepEqual([...(await fetchNow(names, { releases, ca: server.ca })).found], [...found]);
    assert.deepEqual([...server.requests].sort(), ['/etcd.tar.gz', '/kubectl']);
    assert.ok(!(await files()).some((name) => ['outside', 'absolute', 'README.md'].includes(name)));
  });

  test('are downloaded once when several processes want them at the same time', async () => {
    await using server = await startStandIn(serve);
    const options = { releases: pins(server.url, { kubectl: KUBECTL }), ca: server.ca };
    const all = await Promise.all([1, 2, 3].map(() => fetchNow(['kubectl'], options)));
    assert.ok(all.every(({ found }) => found.size === 1));
    assert.deepEqual(server.requests, ['/kubectl']);
  });

  test('with other bytes than the pinned ones are refused', async () => {
    await using server = await startStandIn(serve);
    const releases = pins(server.url, { kubectl: Buffer.from('the release') });
    await assertRefused(['kubectl'], { releases, ca: server.ca }, /expected SHA-256 [0-9a-f]{64}, found [0-9a-f]{64}$/);
  });

  test('that are cut off are refused, with and without an announced length', async () => {
    for (const headers of [{ 'content-length': KUBECTL.length }, {}]) {
      await using server = await serving((response) => {
        response.writeHead(200, headers);
        response.write(KUBECTL.subarray(0, 1_000), () => response.destroy());
      });
      const releases = pins(server.url, { kubectl: KUBECTL });
      await assertRefused(['kubectl'], { releases, ca: server.ca }, /aborted|terminated|closed|socket/i);
    }
  });

  test('that end early without an error are refused', async () => {
    await using server = await serving((response) => response.end(KUBECTL.subarray(0, 1_000)));
    const releases = pins(server.url, { kubectl: KUBECTL });
    await assertRefused(['kubectl'], { releases, ca: server.ca }, /expected SHA-256/);
  });

  test('are aborted where no answer comes, and where the bytes come too slowly', async () => {
    await using silent = await serving(() => {});
    const late = { releases: pins(silent.url, { kubectl: KUBECTL }), ca: silent.ca, totalTimeoutMs: 120_000 };
    await assertRefused(['kubectl'], { ...late, answerTimeoutMs: HURRIED.answerTimeoutMs }, /an answer within 0\.2 s/);
    await using slow = await serving((response) => response.write('#'));
    const dripping = { releases: pins(slow.url, { kubectl: KUBECTL }), ca: slow.ca, answerTimeoutMs: 60_000 };
    await assertRefused(
      ['kubectl'],
      { ...dripping, totalTimeoutMs: 2_000 },
      /whole within 2 s, found it unfinished|within/,
    );
  });

  test('longer than allowed are refused, announced or not', async () => {
    for (const headers of [{ 'content-length': KUBECTL.length }, {}]) {
      await using server = await serving((response) => response.writeHead(200, headers).end(KUBECTL));
      const releases = pins(server.url, { kubectl: KUBECTL });
      await assertRefused(['kubectl'], { releases, ca: server.ca, maxBytes: 1_000 }, /at most 1000 bytes/);
    }
  });

  test('are refused where the server answers with an error', async () => {
    await using server = await serving((response) => response.writeHead(503).end('busy'));
    const releases = pins(server.url, { kubectl: KUBECTL });
    await assertRefused(['kubectl'], { releases, ca: server.ca }, /expected status 200, found 503/);
  });

  test('are found behind a redirect, but not over plain HTTP and not in a circle', async () => {
    const redirect =
      (location: string): RequestListener =>
      (request, response) => {
        if (request.url === '/moved') return void response.end(KUBECTL);
        response.writeHead(302, { location }).end();
      };
    await using good = await startStandIn(redirect('/moved'));
    const { found } = await fetchNow(['kubectl'], { releases: pins(good.url, { kubectl: KUBECTL }), ca: good.ca });
    assert.equal(found.size, 1);
    cache = await mkdtemp(join(folder, 'cache-'));
    await using plain = await startStandIn(redirect('http://127.0.0.1:1/moved'));
    const downgraded = { releases: pins(plain.url, { kubectl: KUBECTL }), ca: plain.ca };
    await assertRefused(['kubectl'], downgraded, /expected a redirect to https, found one to http:/);
    await using circle = await startStandIn(redirect('/kubectl'));
    const turning = { releases: pins(circle.url, { kubectl: KUBECTL }), ca: circle.ca };
    await assertRefused(['kubectl'], turning, /at most 5 redirects/);
  });

  test('are not taken from a server whose certificate is not trusted', async () => {
    await using server = await startStandIn(serve);
    await assertRefused(['kubectl'], { releases: pins(server.url, { kubectl: KUBECTL }) }, /certificate/);
  });

  test('are left out where there is no network', async () => {
    const releases = pins(`https://127.0.0.1:${await freePort()}`, { kubectl: KUBECTL });
    await assertRefused(['kubectl'], { releases }, /ECONNREFUSED/);
    cache = await mkdtemp(join(folder, 'cache-'));
    await assertRefused(
      ['kubectl'],
      { releases: pins('https://releases.invalid', { kubectl: KUBECTL }) },
      /ENOTFOUND|EAI_AGAIN|within/,
    );
  });

  test('come through the proxy that the environment names, and past it for hosts in NO_PROXY', async () => {
    await using server = await startStandIn(serve);
    await using proxy = await startProxy(server.port);
    const through = { ca: server.ca, env: { HTTPS_PROXY: proxy.url } };
    const releases = pins(`https://${PROXIED_HOST}`, { kubectl: KUBECTL });
    assert.equal((await fetchNow(['kubectl'], { ...through, releases })).found.size, 1);
    assert.deepEqual(proxy.requests, [`${PROXIED_HOST}:443`]);
    const direct = { ...through, env: { ...through.env, no_proxy: '127.0.0.1' } };
    const local = pins(server.url, { kubectl: KUBECTL });
    assert.equal((await fetchNow(['kubectl'], { ...direct, releases: local })).found.size, 1);
    assert.equal(proxy.requests.length, 1);
  });

  const broken: Readonly<Record<string, readonly [Buffer, RegExp]>> = {
    'is cut off': [ARCHIVE.subarray(0, 150), /unexpected end of file|end of the archive/],
    'is not one': [Buffer.from('not an archive'), /incorrect header check/],
    'lacks the file': [tarGz([{ name: 'etcd-v3/README.md', content: 'x' }]), /expected the file, found none/],
    'has the file under a path that leads there': [
      tarGz([{ name: 'etcd-v3/../etcd-v3/etcd', content: ETCD }]),
      /expected the file, found none/,
    ],
    'has a link in its place': [tarGz([{ name: 'etcd-v3/etcd', type: '2' }]), /expected a regular file/],
    'announces more than it holds': [
      tarGz([{ name: 'etcd-v3/etcd', content: ETCD, size: 100_000 }]),
      /end of the archive/,
    ],
    'announces too much': [
      tarGz([{ name: 'etcd-v3/etcd', content: ETCD, size: 7_000_000_000 }]),
      /expected at most \d+ bytes, found 7000000000/,
    ],
    'is a bomb': [tarGz([{ name: 'zeros', content: '\0'.repeat(2_000_000) }]), /expected a smaller archive/],
  };
  for (const [how, [archive, reason]] of Object.entries(broken)) {
    test(`from an archive that ${how} are refused, though its checksum is the pinned one`, async () => {
      await using server = await serving((response) => response.end(archive));
      const releases = pins(server.url, { etcd: archive });
      await assertRefused(['etcd'], { releases, ca: server.ca, maxBytes: 100_001 }, reason);
    });
  }

  test('of other pins are removed when they were not used for a month', async () => {
    const root = join(cache, 'dcred');
    const daysOld = async (name: string, days: number) => {
      await mkdir(join(root, name), { recursive: true });
      const then = new Date(Date.now() - days * 24 * 3_600_000);
      await utimes(join(root, name), then, then);
    };
    await daysOld('downloads-00000000000000aa', 31);
    await daysOld('downloads-00000000000000bb', 29);
    await using server = await startStandIn(serve);
    const { found } = await fetchNow(['kubectl'], { releases: pins(server.url, { kubectl: KUBECTL }), ca: server.ca });
    const kept = ['downloads-00000000000000bb', basename(dirname(found.get('kubectl') ?? ''))];
    assert.deepEqual((await readdir(root)).sort(), kept.sort());
  });

  test('are not looked for where DCRED_DOWNLOADS is off, nor what is not pinned', async () => {
    await using server = await startStandIn(serve);
    const releases = pins(server.url, { kubectl: KUBECTL });
    const off = { releases, ca: server.ca, env: { DCRED_DOWNLOADS: 'off' } };
    assert.equal((await fetchNow(['kubectl'], off)).found.size, 0);
    assert.equal((await fetchNow(['kubelet'], { releases, ca: server.ca })).found.size, 0);
    assert.deepEqual(server.requests, []);
  });
});

test('releases.json pins every binary of the test cluster on Linux, over https, by SHA-256', async () => {
  const releases = await readReleases();
  const names = ['etcd', 'etcdctl', 'etcdutl', 'helm', 'kube-apiserver', 'kube-controller-manager', 'kube-proxy'];
  const all = [...names, 'kube-scheduler', 'kubectl', 'kubelet'].sort();
  for (const platform of ['linux/amd64', 'linux/arm64']) {
    const downloads = downloadsFor(releases, all, platform);
    assert.deepEqual(downloads.flatMap(({ binaries }) => binaries.map(({ name }) => name)).sort(), all);
    for (const { sha256, url } of downloads) {
      assert.match(sha256, /^[0-9a-f]{64}$/);
      assert.match(url, /^https:\/\/[^{}]+$/);
    }
    assert.equal(new Set(downloads.map(({ sha256 }) => sha256)).size, downloads.length);
  }
});
