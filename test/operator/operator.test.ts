import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { DELEGATED_CREDENTIALS } from '../../src/api/resource-types.ts';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { systemClock } from '../../src/kubernetes/clock.ts';
import type { LeaderElector } from '../../src/kubernetes/leader/leader-election.ts';
import type { KubernetesObject, WatchEvent } from '../../src/kubernetes/objects.ts';
import { PODS, type ResourceType, SECRETS } from '../../src/kubernetes/resource-type.ts';
import { Operator } from '../../src/operator/operator.ts';
import type { OperatorOptions } from '../../src/operator/operator-options.ts';
import { makeSecret } from '../../src/operator/pods/issuer.ts';
import { OperatorMetrics } from '../../src/operator/reporting/metrics.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { type Delegation, delegation, specOf } from '../../testing/support/builders.ts';
import { eventually } from '../../testing/support/processes.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';
import { createPod, operatorsClient } from './cluster.ts';

const CRD = join(import.meta.dirname, '..', '..', 'crds', 'dcred.dev_delegatedcredentials.yaml');
const signal = new AbortController().signal;

/** A leader election whose outcome the test decides. A fake. */
class Election {
  readonly #won = Promise.withResolvers<void>();

  win(): void {
    this.#won.resolve();
  }

  readonly elector = {
    run: async (options: { signal: AbortSignal; lead: (signal: AbortSignal) => Promise<void> }) => {
      const ended = new Promise<'ended'>((resolve) => {
        options.signal.addEventListener('abort', () => resolve('ended'), { once: true });
      });
      if ((await Promise.race([this.#won.promise, ended])) === 'ended') return 'released';
      await options.lead(options.signal);
      return 'released';
    },
  } as unknown as LeaderElector;
}

/** The same client, and a promise that resolves once a watcher has handled the object of that name. */
function witnessing(client: ApiClient, name: string): { readonly client: ApiClient; readonly seen: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  async function* observed(events: AsyncIterable<WatchEvent<KubernetesObject>>) {
    for await (const event of events) {
      yield event;
      if (event.object.metadata.name === name) resolve();
    }
  }
  const witness = new Proxy(client, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== 'function') return value;
      if (property !== 'watch') return value.bind(target);
      return (...args: Parameters<ApiClient['watch']>) => observed(target.watch(...args));
    },
  });
  return { client: witness, seen: promise };
}

/** The same client, which is refused every list and watch of a kind until `allow` is called. */
function refused(client: ApiClient, plural: string): { readonly client: ApiClient; readonly allow: () => void } {
  let isAllowed = false;
  const guard = new Proxy(client, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== 'function') return value;
      if (property !== 'list' && property !== 'watch') return value.bind(target);
      return (...args: [ResourceType, ...unknown[]]) => {
        if (isAllowed || args[0].plural !== plural) return value.apply(target, args);
        throw new ApiError(`no permission to list ${plural}`, { status: 403, reason: 'Forbidden' });
      };
    },
  });
  return {
    client: guard,
    allow: () => {
      isAllowed = true;
    },
  };
}

describe('an operator', () => {
  let plane: ControlPlane;
  let client: ApiClient;
  let authority: Delegation;

  before(async () => {
    plane = await startControlPlane();
    client = await operatorsClient(plane);
    authority = delegation();
    await plane.kubectl(['apply', '--server-side', '-f', CRD]);
    await plane.untilServed('delegatedcredentials.dcred.dev');
    const data = { 'tls.crt': authority.chainPem, 'tls.key': authority.keyPem };
    const encoded = Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString('base64')]);
    const secret = { metadata: { namespace: 'default', name: 'web-tls' }, data: Object.fromEntries(encoded) };
    await client.create(SECRETS, secret, { signal });
  });
  after(async () => {
    await client?.close();
    await plane?.stop();
  });

  const operatorOf = (options: Partial<OperatorOptions>) =>
    new Operator({
      client,
      namespaces: [],
      workers: 4,
      notifyPods: false,
      elector: undefined,
      leaseName: 'dcred-operator',
      metrics: new OperatorMetrics('test'),
      clock: systemClock,
      random: Math.random,
      log: recordingLogger(),
      instance: 'test',
      namespace: 'default',
      ...options,
    });

  async function createResource(name: string, podSelector: object): Promise<void> {
    const spec = { certificateRef: { name: 'web-tls' }, podSelector };
    const resource = { metadata: { namespace: 'default', name }, spec };
    await client.create(DELEGATED_CREDENTIALS, resource, { signal });
  }

  async function issueFor(resourceName: string, pod: { name: string; uid: string }): Promise<void> {
    const request = {
      namespace: 'default',
      name: `${resourceName}-${pod.name}`,
      resourceName,
      pod,
      spec: specOf(),
      certificate: authority.certificate,
      signer: authority.signer,
      replaces: undefined,
      now: Math.floor(Date.now() / 1000),
    };
    await client.create(SECRETS, await makeSecret(request, generateCredentialKey, signal), { signal });
  }

  const issuedNames = async () => {
    const labelSelector = 'app.kubernetes.io/managed-by=dcred';
    const { items } = await client.list(
      SECRETS,
      { namespace: 'default', labelSelector, metadataOnly: true },
      { signal },
    );
    return items.map(({ metadata }) => metadata.name ?? '').sort();
  };

  test('that does not lead keeps its caches warm and its queues empty, and catches up once it leads', async () => {
    const metrics = new OperatorMetrics('test');
    const election = new Election();
    const witness = witnessing(client, 'gone-seen');
    const operator = operatorOf({ client: witness.client, elector: election.elector, metrics });
    const value = async (name: string) => {
      const text = await metrics.registry.metrics();
      return Number(
        text
          .split('\n')
          .find((line) => line.startsWith(`${name} `))
          ?.split(' ')[1],
      );
    };
    const stop = new AbortController();
    const running = operator.run(stop.signal);
    try {
      await operator.settled();

      // What the leader does meanwhile: pods come, are served, and go.
      const orphaned = await createPod(client, 'orphaned');
      await issueFor('gone', orphaned);
      await createPod(client, 'waiting', { labels: { app: 'web' } });
      for (let n = 0; n < 10; n += 1) {
        const pod = await createPod(client, `brief-${n}`, { labels: { app: 'web' } });
        await issueFor('web', pod);
        await client.delete(SECRETS, { namespace: 'default', name: `web-${pod.name}` }, { signal });
        await client.delete(PODS, { namespace: 'default', name: pod.name }, { signal });
      }
      await createResource('web', { matchLabels: { app: 'web' } });
      await issueFor('gone', await createPod(client, 'seen'));
      await witness.seen;
      assert.equal(await value('workqueue_depth{name="pod"}'), 0);
      assert.equal(await value('workqueue_depth{name="resource"}'), 0);

      election.win();
      const expected = ['web-waiting'];
      await eventually('what is due is done', async () => {
        const names = await issuedNames();
        return JSON.stringify(names) === JSON.stringify(expected) || undefined;
      });
    } finally {
      stop.abort();
      assert.equal(await running, 'released');
    }
  });

  for (const plural of ['delegatedcredentials', 'pods', 'secrets']) {
    for (const [where, namespaces] of [
      ['in all namespaces', []],
      ['in one namespace', ['default']],
    ] as const) {
      test(`that is refused ${plural} ${where} as it starts serves them once it is permitted to list them`, async () => {
        const name = `${plural}-${namespaces.length}`;
        await createPod(client, name, { labels: { app: name } });
        await createResource(name, { matchLabels: { app: name } });
        const guard = refused(client, plural);
        const log = recordingLogger();
        const metrics = new OperatorMetrics('test');
        const operator = operatorOf({ client: guard.client, namespaces, log, metrics });
        const stop = new AbortController();
        const running = operator.run(stop.signal);
        try {
          await eventually(
            'it to lead',
            async () => log.lines.some(({ message }) => message === 'leading') || undefined,
          );
          await eventually('its keys to be reconciled', async () => {
            const text = await metrics.registry.metrics();
            return /^workqueue_depth\{name="resource"\} 0$/m.test(text) || undefined;
          });
          guard.allow();
          await eventually('the Secret', async () => (await issuedNames()).includes(`${name}-${name}`) || undefined);
          await eventually('it to be ready', async () => operator.notReady === undefined || undefined);
        } finally {
          stop.abort();
          assert.equal(await running, 'released');
        }
      });
    }
  }
});
