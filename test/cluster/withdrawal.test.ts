/**
 * A paced wave of re-issues, and a grant that is withdrawn at the worst moments: in the middle of such a wave, while the operator restarts
 * or its leader changes, and while its caches are stale.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { DELEGATED_CREDENTIALS } from '../../src/api/resource-types.ts';
import { GrantWatch } from '../../src/signer/grant-watch.ts';
import { GrantedUses } from '../../src/signer/granted-uses.ts';
import { type Cluster, type Resource, type Secret, startCluster } from '../../testing/cluster/cluster.ts';
import { type OperatorProcess, startOperator } from '../../testing/cluster/operator-process.ts';
import { createTestAuthority, type LeafFiles } from '../../testing/support/certificates.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';
import { eventually } from '../../testing/support/processes.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';
import { createProxyTls, FaultProxy } from '../faults/proxy.ts';
import { clientFor } from '../kubernetes/clients.ts';
import { assertServes, file } from './verification.ts';

const PODS = 8;
/** One worker takes keys in the order of the queue. */
const PACED = ['--workers=1', '--max-reissues-per-second=2'];
/** Ten seconds for each: a busy machine too is done with what it does in the middle of the wave before that ends. */
const SLOW = ['--workers=1', '--max-reissues-per-second=0.1'];

const authority = await createTestAuthority();
const [first, second] = [await authority.issue(), await authority.issue()];
let cluster: Cluster;

before(async () => {
  cluster = await startCluster();
});
after(() => cluster?.[Symbol.asyncDispose]());

const kubectl = async (...args: readonly string[]) => (await cluster.plane.kubectl(args)).stdout;
const start = (...args: readonly string[]) =>
  startOperator({ kubeconfig: cluster.operatorKubeconfig, args: ['--leader-elect=false', ...args] });

async function putGrant(owner: string, namespace: string, spec: object = {}): Promise<void> {
  const grant = {
    apiVersion: 'dcred.dev/v1alpha1',
    kind: 'DelegationGrant',
    metadata: { namespace: owner, name: 'web' },
    spec: { certificateRef: { name: 'web-tls' }, from: [{ namespace }], ...spec },
  };
  await cluster.plane.kubectl(['apply', '-f', '-'], { input: JSON.stringify(grant) });
}

const withdraw = (owner: string) => kubectl('delete', 'dcgrant', 'web', '-n', owner);

/** A namespace with the certificate, and one with a resource that is granted the use of it; without pods. */
async function granted(spec: object = {}): Promise<{ readonly owner: string; readonly namespace: string }> {
  const [owner, namespace] = [await cluster.namespace(), await cluster.namespace()];
  await cluster.putCertificate(owner, 'web-tls', first);
  await putGrant(owner, namespace, spec);
  await cluster.createResource(namespace, 'web', {
    certificateRef: { name: 'web-tls', namespace: owner },
    podSelector: { matchLabels: { app: 'web' } },
    lifetimeSeconds: 3_600,
  });
  return { owner, namespace };
}

const isOn = (leaf: LeafFiles) => (secret: Secret) => file(secret, 'tls.crt').toString() === leaf.certificatePem;

/** How many Secrets are on the new leaf. Asserts that each is whole: key, credential and leaf belong together, whichever leaf it is. */
async function updated(namespace: string): Promise<number> {
  const secrets = await cluster.secrets(namespace);
  for (const secret of secrets) {
    assertServes(secret);
    assert.ok(isOn(first)(secret) || isOn(second)(secret));
  }
  return secrets.filter(isOn(second)).length;
}

/** Starts a wave with a new leaf, and resolves in the middle of it. */
async function beginWave(owner: string, namespace: string): Promise<void> {
  await cluster.untilReason(namespace, 'web', 'Issued');
  await cluster.untilSecrets(namespace, PODS);
  await cluster.putCertificate(owner, 'web-tls', second);
  await eventually('the wave to begin', async () => ((await updated(namespace)) >= 2 ? true : undefined));
}

/** How many were said to be updated while a wave ran, until it ended: a watch sees each state, however slow this process is. */
async function progressOfWave(namespace: string): Promise<readonly number[]> {
  const selection = { namespace, sendInitialEvents: true };
  const seen: number[] = [];
  for await (const { object, type } of cluster.client.watch<Resource>(DELEGATED_CREDENTIALS, selection, {
    signal: cluster.signal,
  })) {
    if (type === 'BOOKMARK') continue;
    const { reissue } = ((object as Resource).status ?? {}) as {
      readonly reissue?: { readonly updated: number; readonly total: number; readonly startTime?: string };
    };
    if (reissue === undefined && seen.length > 0) return seen;
    if (reissue === undefined) continue;
    assert.equal(reissue.total, PODS);
    assert.ok(reissue.startTime !== undefined);
    seen.push(reissue.updated);
  }
  assert.fail('the watch ended before the wave');
}

/** Resolves once the operator has taken every key that the wave and the withdrawal enqueued. */
async function untilIdle(operator: OperatorProcess, namespace: string): Promise<void> {
  await cluster.untilReason(namespace, 'web', 'CertificateNotPermitted');
  await eventually('the queue to be empty', async () =>
    (await operator.metric('workqueue_depth{name="pod"}')) === 0 ? true : undefined,
  );
  // The only worker takes this pod's key after the last of those.
  const other = await granted();
  await cluster.createPod(other.namespace, 'web-0');
  await cluster.untilReason(other.namespace, 'web', 'Issued');
}

test('a paced wave shows its progress, keeps each pair whole until it is replaced, and replaces what expires first', async () => {
  await using operator = await start(...PACED);
  const { owner, namespace } = await granted();
  // The earlier the name, the longer the lifetime.
  for (const [round, lifetimeSeconds] of [3_600, 7_200, 10_800, 14_400].entries()) {
    await cluster.patchResource(namespace, 'web', { lifetimeSeconds });
    for (const half of ['a', 'b']) await cluster.createPod(namespace, `web-${9 - round}${half}`);
    await cluster.untilSecrets(namespace, 2 * (round + 1));
    await cluster.untilReason(namespace, 'web', 'Issued');
  }
  const expiryOf = new Map(
    (await cluster.secrets(namespace)).map((one) => [one.metadata.name, assertServes(one).expiresAt]),
  );
  assert.equal(new Set(expiryOf.values()).size >= 4, true);

  const [seen] = await Promise.all([
    progressOfWave(namespace),
    cluster.putCertificate(owner, 'web-tls', second),
    // Each is verified, whole as it is at any time.
    eventually('the wave to end', async () => (await updated(namespace)) === PODS || undefined),
  ]);
  assert.ok(new Set(seen).size >= 2, `progress: ${seen.join()}`);
  assert.deepEqual(
    seen,
    seen.toSorted((a, b) => a - b),
  );
  await cluster.untilReason(namespace, 'web', 'Issued');
  const written = (await cluster.secrets(namespace))
    .toSorted((a, b) => Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion))
    .map(({ metadata }) => expiryOf.get(metadata.name));
  assert.deepEqual(
    written,
    written.toSorted((a = 0, b = 0) => a - b),
  );
  assert.equal(await operator.reached('dcred_credentials_issued_total{reason="CertificateChanged"}', PODS), PODS);
  await eventually('both Events of the wave', async () => {
    const reasons = (await cluster.events(namespace)).map(({ reason }) => reason);
    return reasons.includes('ReissueStarted') && reasons.includes('ReissueFinished') ? true : undefined;
  });
});

describe('a grant that is withdrawn in the middle of a wave', () => {
  test('stops the wave: what was not replaced stays as it is', async () => {
    await using operator = await start(...SLOW);
    const { owner, namespace } = await granted();
    await cluster.createPods(namespace, PODS);
    await beginWave(owner, namespace);
    await withdraw(owner);
    const count = await updated(namespace);
    await untilIdle(operator, namespace);
    // One more at most: its grant had been read a moment before.
    const last = await updated(namespace);
    assert.ok(last <= count + 1 && last < PODS, `${count} at the withdrawal, ${last} in the end`);
    assert.equal((await cluster.secrets(namespace)).length, PODS);
  });

  test('while the operator is down, is not forgotten by the next one', async () => {
    const { owner, namespace } = await granted();
    await cluster.createPods(namespace, PODS);
    {
      await using operator = await start(...SLOW);
      await beginWave(owner, namespace);
      await operator.kill();
    }
    await withdraw(owner);
    const count = await updated(namespace);
    await using operator = await start(...SLOW);
    await untilIdle(operator, namespace);
    assert.equal(await updated(namespace), count);
    assert.ok(count < PODS);
  });

  test('while the leader changes, is not forgotten by the new one', async () => {
    const { owner, namespace } = await granted();
    await cluster.createPods(namespace, PODS);
    const elected = () =>
      startOperator({ kubeconfig: cluster.operatorKubeconfig, args: ['--leader-elect=true', ...SLOW] });
    await using leader = await elected();
    await leader.until('leading');
    await using next = await elected();
    await beginWave(owner, namespace);
    await Promise.all([leader.stop(), withdraw(owner)]);
    const count = await updated(namespace);
    await next.until('leading');
    await untilIdle(next, namespace);
    const last = await updated(namespace);
    assert.ok(last <= count + 1 && last < PODS, `${count} at the withdrawal, ${last} in the end`);
  });
});

const GRANTS = 'delegationgrants';

/** A path to the API server on which watches can be silenced. */
async function byProxy(): Promise<{ readonly proxy: FaultProxy; readonly kubeconfig: string }> {
  const tls = await createProxyTls();
  const proxy = await FaultProxy.start({ plane: cluster.plane, tls });
  const config = JSON.parse(readFileSync(cluster.operatorKubeconfig, 'utf8'));
  const trust = Buffer.from(tls.authority.certificate).toString('base64');
  config.clusters[0].cluster = { server: proxy.url, 'certificate-authority-data': trust };
  const kubeconfig = join(cluster.plane.directory, `by-${new URL(proxy.url).port}.kubeconfig`);
  writeFileSync(kubeconfig, JSON.stringify(config), { mode: 0o600 });
  return { proxy, kubeconfig };
}

describe('a signer whose watches are silent', () => {
  const { signal } = new AbortController();
  const TIER = { namespaceSelector: { matchLabels: { tier: 'edge' } } };

  for (const [what, from, undo] of [
    ['a grant', (namespace: string) => ({ namespace }), withdraw],
    ['a label', () => TIER, (_: string, namespace: string) => kubectl('label', 'namespace', namespace, 'tier-')],
  ] as const) {
    test(`signs under ${what} that is gone for ten seconds at most, and reads nothing for what it does not sign`, async () => {
      const { proxy, kubeconfig } = await byProxy();
      await using stack = new AsyncDisposableStack();
      stack.use(proxy);
      const [owner, namespace] = [await cluster.namespace(), await cluster.namespace()];
      await kubectl('label', 'namespace', namespace, 'tier=edge');
      await putGrant(owner, namespace, { from: [from(namespace)] });
      // The test's own clock, so that no silent watch ever times out.
      const clock = new FakeClock(Date.now());
      const client = await clientFor(kubeconfig, { clock });
      const changes: string[] = [];
      const watch = new GrantWatch({
        client,
        clock,
        random: () => 0,
        log: recordingLogger(),
        namespaces: [owner],
        cluster: 'local',
        onChange: () => void changes.push('change'),
      });
      const stop = new AbortController();
      const running = watch.run(stop.signal);
      stack.defer(async () => {
        stop.abort();
        await running;
        await client.close();
      });
      const grants = new GrantedUses({ configured: [], watch });
      const question = { certificate: `${owner}/web-tls`, cluster: 'local', usage: 'Server', namespace } as const;
      await eventually('the grant to be seen', async () => grants.known(question)?.length === 1 || undefined);
      assert.equal((await grants.current(question, signal)).length, 1);

      for (const one of proxy.watches) one.freeze();
      await undo(owner, namespace);
      clock.advance(9_999);
      assert.equal((await grants.current(question, signal)).length, 1, 'known since a moment ago');
      assert.equal((await grants.current({ ...question, namespace: 'other' }, signal)).length, 0);
      const lists = () => proxy.journal.filter(({ verb }) => verb === 'list').length;
      const before_ = lists();
      clock.advance(2);
      const many = Array.from({ length: 50 }, async () => await grants.current(question, signal));
      assert.deepEqual((await Promise.all(many)).flat(), []);
      assert.ok(lists() - before_ <= 2, `${lists() - before_} lists`);
      assert.deepEqual(grants.known(question), [], 'clients that wait for news of the certificate are notified');
      const last = changes.length;
      assert.ok(last > 0);
      clock.advance(60_000);
      assert.deepEqual(await grants.current(question, signal), []);
      assert.equal(lists() - before_ <= 2, true, 'what is not granted costs no list');
    });
  }
});

describe('an operator whose watch of grants is silent', () => {
  let proxy: FaultProxy;
  let operator: OperatorProcess;
  const asked = (verb: string) => proxy.journal.filter((one) => one.resource === GRANTS && one.verb === verb).length;
  /** The connection stays open, and nothing comes through it any more. */
  const freeze = () => {
    for (const watch of proxy.watches) if (watch.exchange.resource === GRANTS) watch.freeze();
  };
  const cut = () => {
    for (const watch of proxy.watches) if (watch.exchange.resource === GRANTS) watch.cut();
  };

  before(async () => {
    const through = await byProxy();
    ({ proxy } = through);
    operator = await startOperator({ kubeconfig: through.kubeconfig, args: ['--leader-elect=false'] });
  });
  after(async () => {
    await operator?.stop();
    await proxy?.[Symbol.asyncDispose]();
  });

  test('issues nothing under a withdrawn grant that its cache still shows', async () => {
    const { owner, namespace } = await granted();
    await cluster.createPod(namespace, 'web-0');
    await cluster.untilReason(namespace, 'web', 'Issued');
    const [before_] = await cluster.untilSecrets(namespace, 1);
    freeze();
    await withdraw(owner);
    const reads = asked('get');
    await cluster.createPod(namespace, 'web-1');
    await cluster.putCertificate(owner, 'web-tls', second);
    await eventually('the operator to ask the API server twice', async () =>
      asked('get') >= reads + 2 ? true : undefined,
    );
    const secrets = await cluster.secrets(namespace);
    assert.deepEqual(
      secrets.map(({ metadata }) => [metadata.name, metadata.resourceVersion]),
      [[before_?.metadata.name, before_?.metadata.resourceVersion]],
    );
    cut();
    await cluster.untilReason(namespace, 'web', 'CertificateNotPermitted');
    assert.equal((await cluster.secrets(namespace)).length, 1);
  });

  test('deletes nothing for a withdrawal that was taken back and that its cache still shows', async () => {
    const { owner, namespace } = await granted({ onWithdraw: 'Delete' });
    await cluster.createPod(namespace, 'web-0');
    await cluster.untilReason(namespace, 'web', 'Issued');
    const [before_] = await cluster.untilSecrets(namespace, 1);
    assert.equal(before_?.metadata.annotations?.['dcred.dev/on-withdraw'], 'Delete');
    await withdraw(owner);
    await cluster.untilReason(namespace, 'web', 'CertificateNotPermitted');
    freeze();
    await putGrant(owner, namespace, { onWithdraw: 'Delete' });
    const lists = asked('list');
    await eventually('the operator to ask the API server before it deletes', async () =>
      asked('list') > lists ? true : undefined,
    );
    cut();
    await cluster.untilReason(namespace, 'web', 'Issued');
    const [secret] = await cluster.untilSecrets(namespace, 1);
    assert.equal(secret?.metadata.uid, before_?.metadata.uid);
  });
});
