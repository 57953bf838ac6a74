/** How clients follow certificates: they are notified at once of what differs, and of a change when it comes, and of nothing else. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { signerFromPem } from '../../src/credential/signer.ts';
import { CertificateFeed } from '../../src/signer/certificate-feed.ts';
import type { UsableCertificate } from '../../src/signer/certificate-source.ts';
import { Changes } from '../../src/signer/changes.ts';
import type { SignerGrant } from '../../src/signer/policy.ts';
import type { KnownCertificate } from '../../src/signer/protocol.ts';
import { FakeClock, settle } from '../../testing/support/fake-clock.ts';
import { leaf } from '../../testing/support/openssl.ts';

const CLIENT = { name: 'here', cluster: 'eu' };
const usable = ({ certificatePem, keyPem }: ReturnType<typeof leaf>): UsableCertificate => ({
  certificate: readDelegationCertificate(certificatePem),
  signer: signerFromPem(keyPem),
});
const [first, second] = [usable(leaf()), usable(leaf())];

class World {
  readonly clock = new FakeClock();
  readonly changes = new Changes();
  certificate: UsableCertificate | undefined = first;
  grants: readonly SignerGrant[] = [grant()];
  readonly feed = new CertificateFeed({
    certificates: {
      get: (name) => (name === 'vault/web-tls' ? this.certificate : undefined),
      has: (name) => name === 'vault/web-tls',
    },
    grants: () => this.grants,
    changes: this.changes,
    maxLifetimeSeconds: 86_400,
    clock: this.clock,
  });

  async ask(version?: string, waitSeconds = 0, change: Partial<KnownCertificate> = {}) {
    const known = [{ certificate: 'vault/web-tls', namespace: 'edge', version, ...change }];
    return await this.feed.news(CLIENT, { known, waitSeconds }, new AbortController().signal);
  }
}

function grant(change: Partial<SignerGrant> = {}): SignerGrant {
  const from = [{ cluster: 'eu', namespace: 'edge' }];
  return { certificate: 'vault/web-tls', from, usages: ['Server'], maxLifetimeSeconds: 7_200, ...change };
}

test('a client that knows nothing gets the chain and the terms, and then nothing more', async () => {
  const world = new World();
  const [news] = await world.ask();
  assert.deepEqual(news?.granted, {
    chainPem: first.certificate.chainPem,
    usages: [{ usage: 'Server', maxLifetimeSeconds: 7_200, onWithdraw: 'Keep' }],
  });
  assert.deepEqual(await world.ask(news?.version), []);
});

test('what does not exist and what is not granted get the same answer', async () => {
  const world = new World();
  const [other] = await world.ask(undefined, 0, { certificate: 'vault/nosuch' });
  const [foreign] = await world.ask(undefined, 0, { namespace: 'shop' });
  assert.deepEqual([other?.version, other?.granted], [foreign?.version, foreign?.granted]);
  assert.equal(foreign?.granted, undefined);
});

test('a waiting client is notified of a new leaf, of a withdrawn grant and of new terms when they come', async () => {
  const world = new World();
  let version = (await world.ask())[0]?.version;
  const steps: readonly (() => void)[] = [
    () => (world.certificate = second),
    () => (world.grants = []),
    () => (world.grants = [grant({ maxLifetimeSeconds: 600, maxPods: 5 })]),
    () => (world.grants = [grant({ usages: ['Server', 'Client'] })]),
  ];
  for (const step of steps) {
    let answered = false;
    const waiting = world.ask(version, 25).finally(() => (answered = true));
    world.changes.notify();
    await settle();
    assert.equal(answered, false, 'a change that does not concern it does not end the wait');
    step();
    world.changes.notify();
    const [news] = await waiting;
    assert.ok(news !== undefined && news.version !== version);
    version = news.version;
  }
  assert.equal(world.clock.timers, 0, 'nothing is left waiting');
});

test('of several grants, a client gets all terms that may be the most generous for some lifetime', async () => {
  const world = new World();
  world.grants = [
    grant({ maxLifetimeSeconds: 600, maxPods: 5, onWithdraw: 'Delete' }),
    grant({ maxLifetimeSeconds: 3_600, maxPods: 2 }),
    grant({ maxLifetimeSeconds: 3_600, maxPods: 1 }),
    grant({ maxLifetimeSeconds: 200_000, maxPods: 2, onWithdraw: 'Delete' }),
  ];
  const [news] = await world.ask();
  assert.deepEqual(news?.granted?.usages, [
    { usage: 'Server', maxLifetimeSeconds: 86_400, maxPods: 2, onWithdraw: 'Delete' },
    { usage: 'Server', maxLifetimeSeconds: 3_600, maxPods: 2, onWithdraw: 'Keep' },
    { usage: 'Server', maxLifetimeSeconds: 600, maxPods: 5, onWithdraw: 'Delete' },
  ]);
  const other = new World();
  other.grants = world.grants.toReversed();
  assert.equal((await other.ask())[0]?.version, news?.version, 'their order does not matter');
});

test('a certificate that cannot be read yet counts as unchanged: a client that has it keeps it, and learns whether it is granted', async () => {
  const world = new World();
  world.certificate = undefined;
  assert.deepEqual(await world.ask(), []);
  assert.equal((await world.ask(undefined, 0, { namespace: 'shop' }))[0]?.granted, undefined);
  world.certificate = first;
  assert.equal((await world.ask())[0]?.granted?.chainPem, first.certificate.chainPem);
});

test('a client for which nothing changes gets an empty answer when its time is over, or when the signer stops', async () => {
  const world = new World();
  const version = (await world.ask())[0]?.version;
  const waiting = world.ask(version, 25);
  await world.clock.advanceAsync(25_000);
  assert.deepEqual(await waiting, []);
  const stop = new AbortController();
  const known = [{ certificate: 'vault/web-tls', namespace: 'edge', version }];
  const stopped = world.feed.news(CLIENT, { known, waitSeconds: 25 }, stop.signal);
  stop.abort();
  assert.deepEqual(await stopped, []);
});
