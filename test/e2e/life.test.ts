import assert from 'node:assert/strict';
import { after, before, describe, type TestContext, test } from 'node:test';
import { PAUSE_IMAGE } from '../../testing/node/components.ts';
import type { Node } from '../../testing/node/node.ts';
import { whyNoNode } from '../../testing/node/requirements.ts';
import { createNssClient, type NssClient } from '../../testing/peers/nss-client.ts';
import { createTestAuthority } from '../../testing/support/certificates.ts';
import { eventually } from '../../testing/support/processes.ts';
import { NAMESPACE } from '../chart/chart.ts';
import { credentialObjects, failedMounts, SERVER_PORT, SHOP, serverSpec, startNodeWithDcred } from './installation.ts';
import { load } from './load.ts';
import { deployment, list, pod, podSpec, service } from './workloads.ts';

/** What happens to a Deployment in its life, while its credentials live for a minute and the agent signals its servers. */

const NAME = 'web.example';
const LIFETIME_SECONDS = 60;
/** Longer than the life of every credential that was there at the start. */
const LOAD_MS = 75_000;
const WANTED_PER_SECOND = 50;
const WAIT = { timeoutMs: 300_000, intervalMs: 500 };

interface PodView {
  readonly metadata: {
    readonly name: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly status: { readonly podIP?: string };
}

interface SecretView {
  readonly metadata: { readonly name: string; readonly annotations: Readonly<Record<string, string>> };
  readonly data: Readonly<Record<string, string>>;
}

describe('the life of a Deployment on a real node', { skip: await whyNoNode() }, () => {
  let node: Node;
  let nss: NssClient;

  before(async () => {
    node = await startNodeWithDcred();
    const authority = await createTestAuthority();
    nss = await createNssClient(authority.certificatePem);
    await apply(credentialObjects('web', await authority.issue(), { lifetimeSeconds: LIFETIME_SECONDS }));
    const spec = {
      ...serverSpec('/var/run/secrets/dcred.dev/web'),
      // The agent can signal only processes of its own user, and runs as the one set here.
      securityContext: { runAsNonRoot: true, runAsUser: 65_532, seccompProfile: { type: 'RuntimeDefault' } },
    };
    const labels = { 'dcred.dev/inject': 'web' };
    const web = deployment('web', 3, spec, labels, { 'dcred.dev/reload': 'signal:HUP:server' });
    await apply(list(web, service('web', 443, SERVER_PORT)));
    await rolledOut();
  });
  after(async () => {
    await nss?.[Symbol.asyncDispose]();
    await node?.stop();
  });

  function apply(input: string): Promise<unknown> {
    return node.plane.kubectl(['apply', '--namespace', SHOP, '-f', '-'], { input });
  }

  async function text(...words: readonly string[]): Promise<string> {
    return (await node.plane.kubectl(['--namespace', SHOP, ...words], { timeoutMs: 400_000 })).stdout.trim();
  }

  async function items<T>(kind: string, selector: string): Promise<readonly T[]> {
    const answer = await text('get', kind, '--selector', selector, '--output', 'json');
    return (JSON.parse(answer) as { readonly items: readonly T[] }).items;
  }

  const secretsNow = () => items<SecretView>('secrets', 'dcred.dev/delegated-credential=web');
  const rolledOut = () => text('rollout', 'status', 'deployment/web', '--timeout=300s');

  /** What is wrong with a handshake that demands a credential. */
  async function handshake(host: string, port: number): Promise<string | undefined> {
    const { connected, output, receivedCredential } = await nss.connect({ host, port, name: NAME });
    return connected && receivedCredential ? undefined : output || 'no handshake, and no error';
  }

  /** Waits until there are this many pods and exactly their Secrets; then makes a handshake with each pod. */
  async function settled(count: number): Promise<readonly string[]> {
    await rolledOut();
    const { pods, secrets } = await eventually(
      `${count} pods with a Secret each, and no other Secret`,
      async () => {
        const seen = await items<PodView>('pods', 'app=web');
        const found = await secretsNow();
        const claimed = new Set(seen.map(({ metadata }) => metadata.annotations?.['secret.dcred.dev/web']));
        const there = found.map(({ metadata }) => metadata.name);
        const complete = seen.length === count && there.length === count && there.every((name) => claimed.has(name));
        if (!complete) return undefined;
        return { pods: seen, secrets: there };
      },
      WAIT,
    );
    await eventually(
      `a status that counts ${count}`,
      async () => {
        const status = 'jsonpath={.status.pods.selected}/{.status.pods.issued}/{.status.pods.failed}';
        const counts = await text('get', 'delegatedcredential/web', '--output', status);
        return counts === `${count}/${count}/0` || undefined;
      },
      WAIT,
    );
    for (const { metadata, status } of pods) {
      assert.equal(await handshake(status.podIP ?? '', SERVER_PORT), undefined, metadata.name);
    }
    return secrets;
  }

  function assertNoneOf(earlier: readonly string[], present: readonly string[]): void {
    assert.deepEqual(
      present.filter((name) => earlier.includes(name)),
      [],
    );
  }

  test('credentials are re-issued under load, and no handshake fails', async (t: TestContext) => {
    await settled(3);
    const address = await text('get', 'service', 'web', '--output', 'jsonpath={.spec.clusterIP}');
    const first = await secretsNow();
    const report = await load({
      handshake: () => handshake(address, 443),
      perSecond: WANTED_PER_SECOND,
      parallel: 6,
      durationMs: LOAD_MS,
    });
    t.diagnostic(
      `${report.handshakes} handshakes, ${report.rate.toFixed(1)} a second (${WANTED_PER_SECOND} wanted; each is a process ` +
        `of NSS), ${report.failures.length} failed or without a credential`,
    );
    assert.deepEqual(report.failures, []);
    // NSS refuses a credential that has expired: the handshakes above went on with another one.
    const now = new Date().toISOString();
    const alive = first.filter(({ metadata }) => (metadata.annotations['dcred.dev/expires-at'] ?? now) > now);
    assert.deepEqual(alive, [], 'the first credentials have expired');
    await settled(3);
    const firstKeys = first.map(({ data }) => data['dc.key']);
    const laterKeys = (await secretsNow()).map(({ data }) => data['dc.key']);
    assert.equal(new Set([...firstKeys, ...laterKeys]).size, 6, 'each pod has another credential key');
    // The server reads its files on SIGHUP and at no other time: these are the agent's signals.
    const reloads: number[] = [];
    for (const { metadata } of await items<PodView>('pods', 'app=web')) {
      const lines = (await text('logs', metadata.name, '--container=server')).split('\n');
      reloads.push(lines.filter((line) => line === 'reloaded').length);
      assert.deepEqual(
        lines.filter((line) => line.startsWith('kept')),
        [],
      );
    }
    t.diagnostic(`reloads of each server, by signals of its agent: ${reloads.join(', ')}`);
    assert.ok(Math.min(...reloads) >= 1);
    const restarts = '{.items[*].status.containerStatuses[*].restartCount}';
    assert.equal(await text('get', 'pods', '--selector=app=web', '--output', `jsonpath=${restarts}`), '0 0 0');
  });

  test('ten replicas are each served, and their Secrets go when they do', async (t: TestContext) => {
    const began = performance.now();
    await text('scale', 'deployment/web', '--replicas=10');
    await settled(10);
    t.diagnostic(`ten served after ${((performance.now() - began) / 1_000).toFixed(1)} s`);
    await text('scale', 'deployment/web', '--replicas=2');
    await settled(2);
  });

  test('a rolled Deployment has other Secrets, and the old ones are gone', async () => {
    const earlier = await settled(2);
    await text('rollout', 'restart', 'deployment/web');
    assertNoneOf(earlier, await settled(2));
  });

  test('a drained pod takes its Secret with it, and its replacement is served', async () => {
    const earlier = await settled(2);
    await text('drain', node.name, '--pod-selector=app=web', '--timeout=300s');
    await text('uncordon', node.name);
    assertNoneOf(earlier, await settled(2));
  });

  test('a drain takes one of the operators and of the webhooks at a time, and the others serve', async () => {
    const ours = ['--namespace', NAMESPACE];
    const all = '--pod-selector=app.kubernetes.io/instance=dcred';
    // There is no second node for their replacements: the drain cannot finish, and must not evict all of them.
    await assert.rejects(
      text('drain', node.name, all, '--ignore-daemonsets', '--delete-emptydir-data', '--timeout=20s'),
      /disruption budget/,
    );
    for (const component of ['operator', 'webhook']) {
      const selector = `--selector=app.kubernetes.io/component=${component}`;
      const phases = async () => {
        const all = await text('get', 'pods', ...ours, selector, '--output', 'jsonpath={.items[*].status.phase}');
        assert.match(all, /Running/, component);
        // The one that was taken may still be on its way out.
        return all.split(' ').sort().join(' ') === 'Pending Running' || undefined;
      };
      await eventually(`one ${component} to run and one to have no node`, phases, WAIT);
    }
    const before = (await secretsNow()).map(({ data }) => data['dc.key']);
    const request = `dcred.dev/renew-requested-at=${new Date().toISOString()}`;
    await text('annotate', '--overwrite', 'delegatedcredential/web', request);
    await eventually(
      'every credential to be another one',
      async () => (await secretsNow()).every(({ data }) => !before.includes(data['dc.key'])) || undefined,
      WAIT,
    );
    const probe = JSON.stringify(
      pod('probe', podSpec({ name: 'idle', image: PAUSE_IMAGE }), { 'dcred.dev/inject': 'web' }),
    );
    const words = ['create', '--namespace', SHOP, '--dry-run=server', '-f', '-', '--output'];
    const { stdout } = await node.plane.kubectl([...words, 'jsonpath={.spec.volumes[*].name}'], { input: probe });
    assert.match(stdout, /dcred-web/);

    await text('uncordon', node.name);
    for (const name of ['dcred', 'dcred-webhook']) await text('rollout', 'status', ...ours, `deployment/${name}`);
    await settled(2);
  });

  test('no pod has waited for a Secret', async (t: TestContext) => {
    const failed = await failedMounts(node);
    t.diagnostic(`FailedMount Events of any kind: ${failed.map(({ message }) => message).join('; ') || 'none'}`);
    assert.deepEqual(
      failed.filter(({ isSecretMissing }) => isSecretMissing),
      [],
    );
  });

  test('without the webhook pods are created anyway, and dcred reports what they lack', async () => {
    const webhook = ['--namespace', NAMESPACE, 'deployment/dcred-webhook'];
    const selector = '--selector=app.kubernetes.io/component=webhook';
    await text('scale', ...webhook, '--replicas=0');
    await text('wait', '--namespace', NAMESPACE, '--for=delete', 'pod', selector, '--timeout=300s');
    const idle = podSpec({ name: 'idle', image: PAUSE_IMAGE });
    await apply(list(pod('missed', idle, { 'dcred.dev/inject': 'web' })));
    await text('wait', '--for=condition=Ready', 'pod/missed', '--timeout=300s');
    await text('wait', '--for=condition=Injected=False', 'delegatedcredential/web', '--timeout=300s');
    const fields = '--field-selector=reason=NotInjected,involvedObject.name=missed';
    const note = await eventually('an Event on the pod', async () => {
      return (await text('get', 'events', fields, '--output', 'jsonpath={.items[*].message}')) || undefined;
    });
    assert.match(note, /Re-create the pod once the webhook runs/);

    await text('delete', 'pod', 'missed');
    await text('scale', ...webhook, '--replicas=2');
    await text('rollout', 'status', ...webhook, '--timeout=300s');
    const labelled = list(pod('missed', idle, { 'dcred.dev/inject': 'web' }));
    // A ready webhook gets the Service's traffic only once kube-proxy knows it: a pod created before that is missed too.
    const create = ['create', '--namespace', SHOP, '--dry-run=server', '--output', 'json', '-f', '-'];
    await eventually(
      'the API server to reach the webhook',
      async () =>
        (await node.plane.kubectl(create, { input: labelled })).stdout.includes('secret.dcred.dev/web') || undefined,
      WAIT,
    );
    await apply(labelled);
    await text('wait', '--for=condition=Ready', 'pod/missed', '--timeout=300s');
    await text('wait', '--for=condition=Injected=True', 'delegatedcredential/web', '--timeout=300s').catch(
      async (error: unknown) => {
        const seen = await text('get', 'pod/missed', 'delegatedcredential/web', '--output', 'yaml');
        throw new Error(`${String(error)}\n${seen}`);
      },
    );
  });
});
