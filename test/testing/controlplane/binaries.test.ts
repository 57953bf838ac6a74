import assert from 'node:assert/strict';
import { utimesSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { ensureBinaries } from '../../../testing/controlplane/binaries.ts';
import { type BuildProgress, progressReporter } from '../../../testing/controlplane/build-progress.ts';
import { BinariesError } from '../../../testing/controlplane/go-module.ts';
import { withLock } from '../../../testing/controlplane/lock.ts';
import { settle } from '../../../testing/support/fake-clock.ts';
import { pins, startStandIn } from './stand-in.ts';

/** Stands for Go: writes the file after `-o`, and counts its calls. A fake. */
const FAKE_GO = `#!/bin/sh
if [ "$1" = env ]; then echo "\${FAKE_GO_VERSION:-go1.99.0}"; exit 0; fi
echo "$*" >>"$FAKE_GO_CALLS"
if [ -n "$FAKE_GO_FAILS" ]; then echo "cannot build" >&2; exit 1; fi
while [ "$1" != -o ]; do shift; done
sleep 0.2
echo "#!/bin/sh" >"$2" && chmod +x "$2"
`;

describe('ensureBinaries', () => {
  let folder: string;
  let env: Record<string, string>;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'dcred-binaries-'));
    await mkdir(join(folder, 'bin'));
    await writeFile(join(folder, 'bin', 'go'), FAKE_GO, { mode: 0o755 });
  });
  beforeEach(async () => {
    env = {
      PATH: `${join(folder, 'bin')}:/usr/bin:/bin`,
      XDG_CACHE_HOME: await mkdtemp(join(folder, 'cache-')),
      DCRED_DOWNLOADS: 'off',
      FAKE_GO_CALLS: join(await mkdtemp(join(folder, 'calls-')), 'calls'),
    };
  });
  after(() => rm(folder, { recursive: true }));

  const calls = async () =>
    (await readFile(env['FAKE_GO_CALLS'] ?? '', 'utf8').catch(() => '')).split('\n').filter((line) => line !== '');

  test('builds what is missing, once', async () => {
    const progress: BuildProgress[] = [];
    const onProgress = (step: BuildProgress) => progress.push(step);
    const paths = await ensureBinaries(['etcd', 'helm'], { env, onProgress });
    assert.deepEqual(await ensureBinaries(['helm', 'etcd'], { env, onProgress }), {
      helm: paths.helm,
      etcd: paths.etcd,
    });
    assert.equal((await calls()).length, 2);
    assert.deepEqual(
      progress.filter(({ state }) => state === 'built').map((step) => 'name' in step && step.name),
      ['etcd', 'helm'],
    );
  });

  test('builds a binary of the versions in go.mod, without paths of this machine', async () => {
    await ensureBinaries(['kubelet'], { env, onProgress: () => {} });
    const [call = ''] = await calls();
    const [, version] = /k8s\.io\/kubernetes (v\S+)/.exec(
      await readFile(join(import.meta.dirname, '../../../testing/controlplane/go.mod'), 'utf8'),
    ) ?? [''];
    assert.match(call, /-trimpath/);
    assert.ok(call.includes(`version.gitVersion=${version}`), call);
    assert.match(call, / k8s\.io\/kubernetes\/cmd\/kubelet$/);
  });

  test('called several times at once, builds each binary once', async () => {
    const all = await Promise.all([1, 2, 3].map(() => ensureBinaries(['etcd', 'kubectl'], { env, onProgress() {} })));
    assert.equal((await calls()).length, 2);
    assert.deepEqual(all[1], all[0]);
  });

  test('leaves no half-built binary behind, and says what Go said', async () => {
    const failing = { ...env, FAKE_GO_FAILS: 'yes' };
    await assert.rejects(ensureBinaries(['etcd'], { env: failing, onProgress() {} }), (error) => {
      assert.ok(error instanceof BinariesError);
      assert.match(error.message, /go build go\.etcd\.io\/etcd\/server\/v3 failed:\ncannot build/);
      return true;
    });
    const paths = await ensureBinaries(['etcd'], { env, onProgress() {} });
    assert.deepEqual(await readdir(dirname(paths.etcd)), ['etcd']);
  });

  test('says what to install when there is no Go, and how to do without', async () => {
    const empty = { ...env, PATH: join(folder, 'nothing') };
    await assert.rejects(ensureBinaries(['etcd'], { env: empty, onProgress() {} }), {
      code: 'ControlPlaneBinaries',
      message: /Go 1\.\d+ or newer is needed.*no "go" is on the PATH.*go\.dev\/dl.*setup-envtest.*KUBEBUILDER_ASSETS/,
    });
  });

  test('says what to install when Go is too old', async () => {
    const old = { ...env, FAKE_GO_VERSION: 'go1.19.8' };
    await assert.rejects(ensureBinaries(['etcd'], { env: old, onProgress() {} }), { message: /found go1\.19\.8/ });
    assert.deepEqual(await calls(), []);
  });

  test('downloads what it can, and builds the rest', async () => {
    const kubectl = Buffer.from('#!/bin/sh\n# the release\n');
    await using server = await startStandIn((_request, response) => response.end(kubectl));
    const options = { env: { ...env, DCRED_DOWNLOADS: 'on' }, releases: pins(server.url, { kubectl }), ca: server.ca };
    const paths = await ensureBinaries(['etcd', 'kubectl'], { ...options, onProgress() {} });
    assert.deepEqual(await readFile(paths.kubectl), kubectl);
    const built = await calls();
    assert.equal(built.length, 1);
    assert.match(built[0] ?? '', / go\.etcd\.io\/etcd\/server\/v3$/);
  });

  test('builds, and says why, where a download has other bytes than the pinned ones', async () => {
    await using server = await startStandIn((_request, response) => response.end('something else'));
    const releases = pins(server.url, { kubectl: Buffer.from('the release') });
    const progress: BuildProgress[] = [];
    const options = { env: { ...env, DCRED_DOWNLOADS: 'on' }, releases, ca: server.ca };
    await ensureBinaries(['kubectl'], { ...options, onProgress: (step) => progress.push(step) });
    assert.equal((await calls()).length, 1);
    const [refusal] = progress.filter((step) => step.state === 'not downloaded');
    assert.match(refusal?.reason ?? '', /expected SHA-256/);
  });

  test('downloads nothing where everything was built before', async () => {
    await ensureBinaries(['kubectl'], { env, onProgress() {} });
    await using server = await startStandIn((_request, response) => response.end());
    const options = { env: { ...env, DCRED_DOWNLOADS: 'on' }, ca: server.ca };
    await ensureBinaries(['kubectl'], {
      ...options,
      releases: pins(server.url, { kubectl: Buffer.from('the release') }),
    });
    assert.deepEqual(server.requests, []);
  });

  test('needs no Go when KUBEBUILDER_ASSETS holds everything', async () => {
    const assets = await mkdtemp(join(folder, 'assets-'));
    for (const name of ['etcd', 'kube-apiserver', 'kubectl']) await symlink('/bin/sh', join(assets, name));
    const found = await ensureBinaries(['etcd', 'kube-apiserver', 'kubectl'], {
      env: { PATH: '/nowhere', XDG_CACHE_HOME: env['XDG_CACHE_HOME'], KUBEBUILDER_ASSETS: assets },
    });
    assert.equal(found.kubectl, join(assets, 'kubectl'));
  });

  test('removes the binaries of other versions that were not used for a month', async () => {
    const root = join(env['XDG_CACHE_HOME'] ?? '', 'dcred');
    const daysOld = async (name: string, days: number) => {
      await mkdir(join(root, name), { recursive: true });
      const then = new Date(Date.now() - days * 24 * 3_600_000);
      await utimes(join(root, name), then, then);
    };
    await daysOld('controlplane-00000000000000aa', 31);
    await daysOld('controlplane-00000000000000bb', 29);
    await daysOld('something-else', 300);
    const { etcd } = await ensureBinaries(['etcd'], { env, onProgress() {} });
    const kept = ['controlplane-00000000000000bb', basename(dirname(etcd)), 'something-else'];
    assert.deepEqual((await readdir(root)).sort(), kept.sort());
  });
});

describe('the lock', () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'dcred-lock-'));
  });
  after(() => rm(folder, { recursive: true }));

  test('lets one in at a time and is gone afterwards', async () => {
    const path = join(folder, 'one');
    let inside = 0;
    let most = 0;
    const work = async () => {
      inside += 1;
      most = Math.max(most, inside);
      for (let turn = 0; turn < 100; turn += 1) await settle();
      inside -= 1;
    };
    await Promise.all([1, 2, 3, 4].map(() => withLock(path, {}, work)));
    assert.equal(most, 1);
    await assert.rejects(readFile(path), { code: 'ENOENT' });
  });

  test('of a dead owner is taken over at once', async () => {
    const path = join(folder, 'dead');
    const { hostname } = await import('node:os');
    // The largest id that Linux gives is 2^22.
    await writeFile(path, JSON.stringify({ pid: 2 ** 22 + 1, host: hostname(), id: 'dead' }));
    let waited = 0;
    await withLock(path, { onWait: () => (waited += 1) }, async () => {});
    assert.equal(waited, 0);
  });

  test('of an owner elsewhere is respected while it beats, and taken over when it no longer does', async () => {
    const path = join(folder, 'elsewhere');
    await writeFile(path, JSON.stringify({ pid: 1, host: 'another-host', id: 'other' }));
    let waited = 0;
    const onWait = () => {
      waited += 1;
      const longAgo = new Date(Date.now() - 60_000);
      utimesSync(path, longAgo, longAgo);
    };
    await withLock(path, { onWait }, async () => {});
    assert.equal(waited, 1);
  });

  test('is released when the work fails', async () => {
    const path = join(folder, 'failing');
    await assert.rejects(
      withLock(path, {}, () => Promise.reject(new Error('no'))),
      { message: 'no' },
    );
    await withLock(path, {}, async () => {});
  });
});

describe('progress', () => {
  function written(isTTY: boolean): { readonly lines: string[]; readonly report: (progress: BuildProgress) => void } {
    const lines: string[] = [];
    return { lines, report: progressReporter({ isTTY, write: (text) => lines.push(text) }) };
  }

  test('in a log: a line at the beginning, every half minute, and at the end', () => {
    const { lines, report } = written(false);
    for (let second = 0; second <= 65; second += 1) {
      report({ state: 'building', name: 'kubectl', elapsedMs: second * 1_000 });
    }
    report({ state: 'built', name: 'kubectl', elapsedMs: 66_000 });
    report({ state: 'building', name: 'helm', elapsedMs: 0 });
    assert.deepEqual(lines, [
      'building kubectl (the first time takes some minutes) ... 0:00\n',
      'building kubectl (the first time takes some minutes) ... 0:30\n',
      'building kubectl (the first time takes some minutes) ... 1:00\n',
      'built kubectl in 1:06\n',
      'building helm (the first time takes some minutes) ... 0:00\n',
    ]);
  });

  test('of a download that failed: why, and what happens now', () => {
    const { lines, report } = written(false);
    report({ state: 'downloading', bytes: 0, elapsedMs: 0 });
    report({ state: 'downloading', bytes: 34_000_000, elapsedMs: 1_000 });
    report({ state: 'not downloaded', name: 'helm', reason: 'no answer' });
    report({ state: 'downloaded', bytes: 330_400_000, elapsedMs: 21_000 });
    assert.deepEqual(lines, [
      'downloading the test cluster, 0 MB ... 0:00\n',
      'could not download helm (no answer): building\n',
      'downloaded the test cluster, 330 MB, in 0:21\n',
    ]);
  });

  test('on a terminal: one line, rewritten', () => {
    const { lines, report } = written(true);
    report({ state: 'building', name: 'etcd', elapsedMs: 192_000 });
    report({ state: 'built', name: 'etcd', elapsedMs: 193_000 });
    assert.deepEqual(lines, [
      '\r\x1b[K' + 'building etcd (the first time takes some minutes) ... 3:12',
      '\r\x1b[K' + 'built etcd in 3:13\n',
    ]);
  });
});
