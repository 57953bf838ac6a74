import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import type { Node } from '../../testing/node/node.ts';
import { whyNoNode } from '../../testing/node/requirements.ts';
import { startFirefox, whyNoFirefox } from '../../testing/peers/firefox.ts';
import { createNssClient, type NssClient } from '../../testing/peers/nss-client.ts';
import { findTlslite } from '../../testing/peers/tlslite.ts';
import { createTestAuthority, type TestAuthority } from '../../testing/support/certificates.ts';
import { eventually } from '../../testing/support/processes.ts';
import { NAMESPACE } from '../chart/chart.ts';
import {
  certificateSecret,
  failedMounts,
  type Release,
  resource,
  SERVER_PORT,
  SHOP,
  serverSpec,
  startNodeWithDcred,
} from './installation.ts';
import { deployment, list, pod, service } from './workloads.ts';

/**
 * dcred as users run it where certificates are guarded: installed by its chart with a signer, issuing to pods that a kubelet runs, checked by
 * other TLS implementations. The certificates' keys are in a namespace that the operator cannot read. (life.test.ts has
 * the operator that signs by itself.)
 */

const NAME = 'web.example';
const REPLICAS = 3;
/** The namespace of the certificates' owner. */
const VAULT = 'vault';
/** Each resource has the certificate `<name>-tls`. */
const RESOURCES = ['web', 'bare'] as const;
const tlslite = await findTlslite();
const absent = (await whyNoNode()) || (await whyNoFirefox()) || (tlslite.available ? false : tlslite.reason);

const seconds = (since: number) => `${((performance.now() - since) / 1_000).toFixed(1)} s`;

interface PodView {
  readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly status: {
    readonly podIP: string;
    readonly containerStatuses?: readonly { readonly ready: boolean; readonly restartCount: number }[];
  };
}

interface SecretView {
  readonly metadata: { readonly name: string; readonly annotations: Readonly<Record<string, string>> };
  readonly data: Readonly<Record<string, string>>;
}

describe('dcred on a real node', { skip: absent }, () => {
  let node: Node;
  let authority: TestAuthority;
  let nss: NssClient;
  let installed: string;

  before(async () => {
    const began = performance.now();
    authority = await createTestAuthority();
    nss = await createNssClient(authority.certificatePem);
    node = await startNodeWithDcred({}, await guarded());
    installed = seconds(began);
    await node.plane.kubectl(['apply', '--namespace', VAULT, '-f', '-'], { input: list(...RESOURCES.map(grant)) });
    await apply(list(credential('web')));
  });
  after(async () => {
    await nss?.[Symbol.asyncDispose]();
    await node?.stop();
  });

  /** The certificates are there before the chart is: its signer is ready when it has read them. */
  async function guarded(): Promise<Release> {
    const secrets = RESOURCES.map(async (name) => certificateSecret(name, await authority.issue()));
    const input = list(...(await Promise.all(secrets)));
    const names = RESOURCES.map((name) => `${name}-tls`);
    return {
      values: { namespaces: [SHOP], signer: { enabled: true, certificates: [{ namespace: VAULT, names }] } },
      prepare: async ({ plane }) => {
        await plane.kubectl(['create', 'namespace', VAULT]);
        await plane.kubectl(['create', '--namespace', VAULT, '-f', '-'], { input });
      },
    };
  }

  function grant(name: string): object {
    const spec = { certificateRef: { name: `${name}-tls` }, from: [{ namespace: SHOP }] };
    return { apiVersion: 'dcred.dev/v1alpha1', kind: 'DelegationGrant', metadata: { name }, spec };
  }

  function credential(name: (typeof RESOURCES)[number], spec: object = {}): object {
    return resource(name, { certificateRef: { name: `${name}-tls`, namespace: VAULT }, ...spec });
  }

  async function text(...words: readonly string[]): Promise<string> {
    return (await node.plane.kubectl(words, { timeoutMs: 400_000 })).stdout.trim();
  }

  function apply(input: string): Promise<unknown> {
    return node.plane.kubectl(['apply', '--namespace', SHOP, '-f', '-'], { input });
  }

  async function items<T>(kind: string, namespace: string, selector: string): Promise<readonly T[]> {
    const words = ['get', kind, '--namespace', namespace, '--selector', selector, '--output', 'json'];
    return (JSON.parse(await text(...words)) as { readonly items: readonly T[] }).items;
  }

  test('its chart starts two operators, two webhooks and a signer, and helm test agrees', async (t: TestContext) => {
    t.diagnostic(`control plane, node and chart ready after ${installed}`);
    const pods = await items<PodView>('pods', NAMESPACE, 'app.kubernetes.io/instance=dcred');
    const states = pods.map(({ status }) =>
      status.containerStatuses?.map(({ ready, restartCount }) => [ready, restartCount]),
    );
    assert.deepEqual(
      states,
      Array.from({ length: 5 }, () => [[true, 0]]),
    );
    await node.plane.helm(['test', 'dcred', '--namespace', NAMESPACE, '--timeout', '5m'], { timeoutMs: 400_000 });
  });

  test('a pod that mounts its Secret by name serves its credential', async (t: TestContext) => {
    const selector = { podSelector: { matchLabels: { app: 'bare' } } };
    await apply(list(credential('bare', selector)));
    const began = performance.now();
    const pods = ['bare-0', 'bare-1'].map((name) =>
      pod(name, serverSpec('/credential', { secretName: `bare-${name}` }), { app: 'bare' }),
    );
    await apply(list(...pods));
    await text('wait', '--namespace', SHOP, '--for=condition=Ready', 'pod', '--selector=app=bare', '--timeout=300s');
    t.diagnostic(`two pods ready after ${seconds(began)}`);
    for (const { status } of await items<PodView>('pods', SHOP, 'app=bare')) {
      const outcome = await nss.connect({ host: status.podIP, port: SERVER_PORT, name: NAME });
      assert.deepEqual([outcome.connected, outcome.receivedCredential], [true, true], outcome.output);
    }
  });

  test('a Deployment with one label: each replica serves its own credential', async (t: TestContext) => {
    const began = performance.now();
    const spec = serverSpec('/var/run/secrets/dcred.dev/web');
    await apply(
      list(deployment('web', REPLICAS, spec, { 'dcred.dev/inject': 'web' }), service('web', 443, SERVER_PORT)),
    );
    await text('rollout', 'status', '--namespace', SHOP, 'deployment/web', '--timeout=300s');
    t.diagnostic(`${REPLICAS} replicas ready after ${seconds(began)}`);
    const pods = await items<PodView>('pods', SHOP, 'app=web');
    const secrets = await items<SecretView>('secrets', SHOP, 'dcred.dev/delegated-credential=web');
    assert.equal(secrets.length, REPLICAS);
    for (const { metadata } of pods) {
      const claimed = secrets.find(({ metadata: { name } }) => name === metadata.annotations?.['secret.dcred.dev/web']);
      assert.equal(claimed?.metadata.annotations['dcred.dev/pod-name'], metadata.name);
    }
    for (const field of ['dc.bin', 'dc.key']) {
      assert.equal(new Set(secrets.map(({ data }) => data[field])).size, REPLICAS);
    }
  });

  test('each replica proves to hold the key of the credential in its own Secret', async () => {
    assert.ok(tlslite.available);
    const secrets = await items<SecretView>('secrets', SHOP, 'dcred.dev/delegated-credential=web');
    const served = new Set<string>();
    for (const { metadata, status } of await items<PodView>('pods', SHOP, 'app=web')) {
      const name = metadata.annotations?.['secret.dcred.dev/web'];
      const issued = secrets.find((secret) => secret.metadata.name === name)?.data['dc.bin'] ?? '';
      const seen = await tlslite.connect({ host: status.podIP, port: SERVER_PORT, name: NAME });
      assert.equal(seen, Buffer.from(issued, 'base64').toString('hex'));
      served.add(seen);
    }
    assert.equal(served.size, REPLICAS);
  });

  test('NSS gets a credential from each replica, and through the Service', async () => {
    const address = await text('get', 'service', 'web', '--namespace', SHOP, '--output', 'jsonpath={.spec.clusterIP}');
    const pods = await items<PodView>('pods', SHOP, 'app=web');
    const servers = pods.map(({ status }) => ({ host: status.podIP, port: SERVER_PORT }));
    for (const server of [...servers, { host: address, port: 443 }]) {
      const outcome = await nss.connect({ ...server, name: NAME });
      assert.deepEqual([outcome.connected, outcome.receivedCredential], [true, true], outcome.output);
    }
  });

  test('Firefox uses the credential of each replica', async () => {
    const pods = await items<PodView>('pods', SHOP, 'app=web');
    assert.equal(pods.length, REPLICAS);
    for (const { status } of pods) {
      await using firefox = await startFirefox({ authority: authority.certificatePem, address: status.podIP });
      const page = await firefox.visit(`https://${NAME}:${SERVER_PORT}/`);
      assert.deepEqual([page.isDelegatedCredential, page.protocol, page.text], [true, 'TLS 1.3', 'delegated']);
    }
  });

  test("Firefox uses it at the Service's address too, as a user would see it", async () => {
    const address = await text('get', 'service', 'web', '--namespace', SHOP, '--output', 'jsonpath={.spec.clusterIP}');
    await using firefox = await startFirefox({ authority: authority.certificatePem, address });
    assert.equal((await firefox.visit(`https://${NAME}/`)).isDelegatedCredential, true);
    assert.match(await firefox.securityPanel(), /^Used Delegated Credentials: ?true$/m);
    const folder = process.env['DCRED_SCREENSHOTS'];
    if (folder !== undefined) await firefox.screenshot(join(folder, 'firefox.png'));
  });

  test('each credential was signed by the signer, and no certificate key is in the namespace of the pods', async () => {
    const [signer] = await items<PodView>('pods', NAMESPACE, 'app.kubernetes.io/component=signer');
    const metrics = `/api/v1/namespaces/${NAMESPACE}/pods/${signer?.metadata.name}:8080/proxy/metrics`;
    const signed = /^dcred_signer_requests_total\{result="signed"\} (\d+)$/m.exec(await text('get', '--raw', metrics));
    assert.ok(Number(signed?.[1]) >= REPLICAS + 2, signed?.[0]);
    const { items: secrets } = JSON.parse(await text('get', 'secrets', '--namespace', SHOP, '--output', 'json')) as {
      readonly items: readonly SecretView[];
    };
    assert.ok(secrets.length >= REPLICAS + 2);
    assert.deepEqual(
      secrets.filter(({ data }) => data['tls.key'] !== undefined),
      [],
    );
  });

  test('no pod that the webhook injected has waited for a Secret', async (t: TestContext) => {
    // One that must wait shows that the kubelet's Events are read as they are written.
    await apply(list(pod('lacking', serverSpec('/credential', { secretName: 'absent' }))));
    const failed = await eventually(
      'an Event about the missing Secret',
      async () => {
        const seen = await failedMounts(node);
        return seen.some(({ podName, isSecretMissing }) => podName === 'lacking' && isSecretMissing) ? seen : undefined;
      },
      { timeoutMs: 300_000, intervalMs: 500 },
    );
    t.diagnostic(`FailedMount Events: ${failed.map(({ podName, message }) => `${podName}: ${message}`).join('; ')}`);
    const injected = (await items<PodView>('pods', SHOP, 'app=web')).map(({ metadata }) => metadata.name);
    assert.equal(injected.length, REPLICAS);
    assert.deepEqual(
      failed.filter(({ podName, isSecretMissing }) => isSecretMissing && injected.includes(podName)),
      [],
    );
  });
});
