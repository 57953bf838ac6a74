import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RENEW_REQUESTED_AT, SECRET_ANNOTATIONS } from '../../../src/api/keys.ts';
import { formatRenewRequest } from '../../../src/api/renew-request.ts';
import type { ApiClient } from '../../../src/kubernetes/client/api-client.ts';
import { Operator } from '../../../src/operator/operator.ts';
import { OperatorMetrics } from '../../../src/operator/reporting/metrics.ts';
import { delegation } from '../../../testing/support/builders.ts';
import { FakeApi, issuedMetadata } from '../../../testing/support/fake-api.ts';
import { FakeClock, settle } from '../../../testing/support/fake-clock.ts';
import { eventually } from '../../../testing/support/processes.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';

const NAMESPACE = 'edge';
const LIFETIME = 172_800;
const PODS = 30;
const WORKERS = 4;
const PER_SECOND = 2;

/** An operator with a pace, over a cluster in memory: `web-0` to `web-29` hold credentials, the last of which expires first. */
class World {
  readonly authority = delegation();
  readonly clock = new FakeClock((this.authority.certificate.notBefore + 100_000) * 1000);
  readonly api = new FakeApi();
  readonly #stop = new AbortController();
  /** When each pod's credential was issued, before the operator starts. */
  readonly #issuedAt = new Map<string, string | undefined>();

  constructor() {
    this.api.put('secrets', {
      metadata: { name: 'web-tls', namespace: NAMESPACE, uid: 'uid-of-web-tls' },
      type: 'kubernetes.io/tls',
      data: {
        'tls.crt': Buffer.from(this.authority.chainPem).toString('base64'),
        'tls.key': Buffer.from(this.authority.keyPem).toString('base64'),
      },
    } as never);
    const now = Math.floor(this.clock.now() / 1000);
    for (let index = 0; index < PODS; index += 1) {
      this.putPod(`web-${index}`);
      const issuedAt = now - 1_000 - index * 60;
      const secret = issuedMetadata({
        namespace: NAMESPACE,
        resourceName: 'web',
        pod: { name: `web-${index}`, uid: `uid-of-web-${index}` },
        certificate: this.authority.certificate,
        issuedAt,
        expiresAt: issuedAt + LIFETIME,
        renewAt: issuedAt + LIFETIME / 2,
      });
      this.api.put('secrets', secret);
      this.#issuedAt.set(`web-${index}`, this.issuedAt(`web-${index}`));
    }
    this.putResource();
  }

  putPod(name: string): void {
    this.api.put('pods', { metadata: { name, namespace: NAMESPACE, uid: `uid-of-${name}`, labels: { app: 'web' } } });
  }

  putResource(annotations: Readonly<Record<string, string>> = {}): void {
    const found = this.api.find('delegatedcredentials', NAMESPACE, 'web');
    this.api.put('delegatedcredentials', {
      metadata: { name: 'web', namespace: NAMESPACE, uid: 'uid-of-web', generation: 1, annotations },
      spec: {
        certificateRef: { name: 'web-tls' },
        podSelector: { matchLabels: { app: 'web' } },
        lifetimeSeconds: LIFETIME,
      },
      ...(found === undefined ? {} : { status: found['status'] }),
    } as never);
  }

  /** The pods whose credentials are new, of those that there were. */
  reissued(): readonly string[] {
    return Array.from({ length: PODS }, (_, index) => `web-${index}`).filter((pod) => this.isNew(pod));
  }

  isNew(pod: string): boolean {
    return this.issuedAt(pod) !== this.#issuedAt.get(pod);
  }

  issuedAt(pod: string): string | undefined {
    return this.api.find('secrets', NAMESPACE, `web-${pod}`)?.metadata.annotations?.[SECRET_ANNOTATIONS.issuedAt];
  }

  /** Until these are new, and everything that could make more so has had many a turn. */
  async untilReissued(count: number): Promise<readonly string[]> {
    await eventually(`${count} re-issued`, async () => (this.reissued().length >= count ? true : undefined));
    for (let turn = 0; turn < 200; turn += 1) await settle();
    return this.reissued();
  }

  async start(): Promise<AsyncDisposable> {
    const operator = new Operator({
      client: this.api as unknown as ApiClient,
      namespaces: [],
      workers: WORKERS,
      maxReissuesPerSecond: PER_SECOND,
      notifyPods: false,
      elector: undefined,
      leaseName: 'dcred-operator',
      metrics: new OperatorMetrics('test'),
      clock: this.clock,
      random: () => 0,
      log: recordingLogger(),
      instance: 'test',
      namespace: 'dcred-system',
    });
    const ended = operator.run(this.#stop.signal);
    await operator.settled();
    // Until the status is as it stays, and every pod has said when it is due.
    for (let seconds = 0; seconds < 10; seconds += 1) await this.clock.advanceAsync(1_000);
    return {
      [Symbol.asyncDispose]: async () => {
        this.#stop.abort();
        await this.clock.advanceAsync(10_000);
        await ended;
      },
    };
  }
}

/** Asserts the pace, and that a new pod is served at once. Returns the pods that came in the first two rounds of the workers. */
async function assertPaced(world: World): Promise<readonly (readonly string[])[]> {
  const first = await world.untilReissued(WORKERS);
  assert.equal(first.length, WORKERS, 'one for each worker');
  world.putPod('new');
  await eventually('the new pod to have a credential', async () => (world.isNew('new') ? true : undefined));
  assert.equal(world.reissued().length, WORKERS);
  await world.clock.advanceAsync((WORKERS / PER_SECOND) * 1000);
  const both = await world.untilReissued(2 * WORKERS);
  assert.equal(both.length, 2 * WORKERS);
  return [first, both.filter((pod) => !first.includes(pod))];
}

test('a request to re-issue is a wave, soonest expiry first', async () => {
  const world = new World();
  await using _operator = await world.start();
  assert.deepEqual(world.reissued(), []);
  world.putResource({ [RENEW_REQUESTED_AT]: formatRenewRequest(world.clock.now() / 1000 + 0.3) });
  await world.clock.advanceAsync(1_000);
  assert.deepEqual(await assertPaced(world), [
    ['web-26', 'web-27', 'web-28', 'web-29'],
    ['web-22', 'web-23', 'web-24', 'web-25'],
  ]);
});

test('credentials that live too long, because the clock was set back, are re-issued as a wave', async () => {
  const world = new World();
  await using _operator = await world.start();
  assert.deepEqual(world.reissued(), []);
  world.clock.jump(-8 * 3_600_000);
  await world.clock.advanceAsync(1_000);
  await assertPaced(world);
});
