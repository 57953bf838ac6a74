/** The webhook's own process under whatever the pod network can send it, within the memory that the chart gives it. */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, type TestContext, test } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { load } from 'js-yaml';
import { bundle } from '../../scripts/build.ts';
import { PODS, type ResourceType } from '../../src/kubernetes/resource-type.ts';
import { type Cluster, startCluster } from '../../testing/cluster/cluster.ts';
import {
  CERT_SECRET,
  pointAt,
  SYSTEM,
  startWebhook,
  type WebhookProcess,
} from '../../testing/cluster/webhook-process.ts';
import { report } from '../../testing/support/fault-report.ts';
import { eventually } from '../../testing/support/processes.ts';
import { Bystander } from './bystander.ts';
import { rawHead, send } from './https.ts';
import { container, podWith, review } from './pods.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const FAIR = JSON.stringify(review(podWith()));
const LIMIT_RANGES: ResourceType = {
  group: '',
  version: 'v1',
  plural: 'limitranges',
  kind: 'LimitRange',
  namespaced: true,
};
/** As large as the API server allows. */
const ANNOTATIONS = { note: 'x'.repeat(250 * 1024) };
const SIXTEEN = Array.from({ length: 16 }, (_, index) => `r${index}`).join(',');

let cluster: Cluster;
let webhook: WebhookProcess;
let ca: string;
let limitBytes: number;
let directory: string | undefined;
let bystander: Bystander;

/** The container's limit, in Mi, from the chart's values. Node's heap is a quarter of it, as in the template. */
async function chartMemory(): Promise<number> {
  const values = load(await readFile(join(ROOT, 'charts/dcred/values.yaml'), 'utf8')) as {
    webhook: { resources: { limits: { memory: string } } };
  };
  const mebibytes = /^(\d+)Mi$/.exec(values.webhook.resources.limits.memory)?.[1];
  return Number(mebibytes ?? assert.fail('expected the limit in Mi'));
}

before(async () => {
  bystander = new Bystander();
  const limit = await chartMemory();
  limitBytes = limit * 1024 * 1024;
  // Bundled, as in the image: the sources' types would take memory too.
  directory = await mkdtemp(join(tmpdir(), 'dcred-hostile-'));
  const main = join(directory, 'dcred.mjs');
  const script = (await bundle('test')).files.find(({ path }) => path.endsWith('.js'));
  await writeFile(main, script?.contents ?? assert.fail('no bundle'));
  cluster = await startCluster({ controllerManager: true, webhook: true });
  webhook = await startWebhook(cluster, ['--log-level=error'], {
    main,
    nodeOptions: [`--max-old-space-size=${limit / 4}`, '--max-semi-space-size=4'],
  });
  await pointAt(cluster, webhook.port, 'Fail');
  await webhook.ready();
  const path = ['get', 'secret', CERT_SECRET, '-n', SYSTEM, '-o', 'jsonpath={.data.ca\\.crt}'];
  ca = Buffer.from((await cluster.plane.kubectl(path)).stdout, 'base64').toString();
});
after(async () => {
  await bystander?.[Symbol.asyncDispose]();
  await webhook?.stop();
  await cluster?.[Symbol.asyncDispose]();
  if (directory !== undefined) await rm(directory, { recursive: true, force: true });
});

const target = () => ({ port: webhook.port, ca, servername: 'dcred-webhook.dcred-system.svc' });

/** The longest that another client's pod waited for its answer in this test. */
let worstMs = 0;

/** Answered like any other, on a new connection. */
async function assertFair(when: string): Promise<void> {
  const { milliseconds, status, text } = await bystander.ask({ target: target(), body: FAIR });
  worstMs = Math.max(worstMs, milliseconds);
  assert.equal(status, 200, `${when}: ${text}`);
  assert.ok(JSON.parse(text).response.patch, when);
}

/** The peak memory of the process, as the kernel counts it. */
async function assertWithinLimit(t: { diagnostic(message: string): void }): Promise<void> {
  const status = await readFile(`/proc/${webhook.pid}/status`, 'utf8');
  const peak = Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) * 1024;
  t.diagnostic(`at most ${Math.round(peak / 1048576)} MiB of ${limitBytes / 1048576}`);
  assert.ok(peak < limitBytes, `${peak} of ${limitBytes} bytes`);
  assert.equal(webhook.exitCode, null);
}

const open: TLSSocket[] = [];

/** A connection that stays until the end of the test, or until the webhook closes it. */
function dial(onOpen: (socket: TLSSocket) => void): Promise<TLSSocket> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port: webhook.port, ca, checkServerIdentity: () => undefined });
    open.push(socket);
    socket.once('secureConnect', () => {
      // Without reading, it would not notice the end.
      socket.resume();
      onOpen(socket);
      resolve(socket);
    });
    socket.once('close', () => resolve(socket));
    socket.on('error', () => {});
  });
}

function hangUp(): void {
  for (const socket of open.splice(0)) socket.destroy();
}

async function post(body: string): Promise<{ readonly status: number; readonly text: string }> {
  return await send(target(), { body }).catch(() => ({ status: 0, text: '' }));
}

describe('within its memory, and answering every other client', {
  skip: process.platform === 'linux' ? false : 'needs /proc',
}, () => {
  afterEach((context) => {
    // Node has `passed` since 21.7; its types do not have it yet.
    const t = context as TestContext & { readonly passed: boolean };
    const violations = t.passed ? 0 : 1;
    report(t, { table: 'attacks', fault: `webhook: ${t.name}`, runs: 1, violations, worstRecoveryMs: worstMs });
    worstMs = 0;
  });

  test('a pod of 25,000 containers and 16 names', async (t) => {
    const containers = Array.from({ length: 25_000 }, (_, index) => container(`c${index}`));
    const pod = podWith({ annotations: { 'dcred.dev/inject': SIXTEEN }, spec: { containers } });
    const body = JSON.stringify(review(pod));
    for (let times = 0; times < 20; times += 1) {
      const { status, text } = await post(body);
      assert.equal(status, 200);
      assert.ok(text.length < 4_096);
    }
    await assertFair('after');
    await assertWithinLimit(t);
  });

  for (const [what, body] of Object.entries({
    'deep nesting': '['.repeat(1_300_000),
    'a million objects': `[${'{},'.repeat(430_000)}{}]`,
    'objects that pass for cheap': `[${'{},'.repeat(24_000)}{}]`,
    'very many keys': JSON.stringify(
      review({
        metadata: {
          labels: Object.fromEntries(Array.from({ length: 45_000 }, (_, i) => [`key-number-${i}-of-a-label`, 'v'])),
        },
      }),
    ),
    'a text that is not JSON': 'x'.repeat(1_300_000),
  })) {
    test(`bodies of 1.3 MB from strangers: ${what}`, async (t) => {
      const all = Array.from({ length: 40 }, () => post(body));
      await assertFair('meanwhile');
      await Promise.all(all);
      await assertFair('after');
      await assertWithinLimit(t);
    });
  }

  test('40 bodies of 8 MiB that never end', async (t) => {
    const piece = Buffer.alloc(64 * 1024, ' ');
    await Promise.all(
      Array.from({ length: 40 }, () =>
        dial((socket) => {
          socket.write(rawHead(8 * 1024 * 1024));
          for (let sent = 0; sent < 120; sent += 1) socket.write(piece);
        }),
      ),
    );
    await assertFair('meanwhile');
    hangUp();
    await assertFair('after');
    await assertWithinLimit(t);
  });

  test('1,500 connections that do nothing', async (t) => {
    for (let batch = 0; batch < 30; batch += 1) await Promise.all(Array.from({ length: 50 }, () => dial(() => {})));
    await assertFair('meanwhile');
    await eventually('most of them to be closed', async () =>
      open.filter(({ destroyed }) => !destroyed).length <= 256 ? true : undefined,
    );
    hangUp();
    await assertFair('after');
    await assertWithinLimit(t);
  });

  test('10,000 requests in one go on one connection', async (t) => {
    const request = rawHead(Buffer.byteLength(FAIR)) + FAIR;
    const socket = await dial((one) => one.write(request.repeat(10_000)));
    await assertFair('meanwhile');
    await eventually('the connection to be closed', async () => (socket.destroyed ? true : undefined));
    await assertWithinLimit(t);
  });

  test('headers of a megabyte', async (t) => {
    const sockets = await Promise.all(
      Array.from({ length: 50 }, () =>
        dial((one) => one.write(`POST /inject HTTP/1.1\r\nX-Long: ${'x'.repeat(1_000_000)}`)),
      ),
    );
    await assertFair('meanwhile');
    await eventually('the connections to be closed', async () =>
      sockets.every(({ destroyed }) => destroyed) ? true : undefined,
    );
    await assertWithinLimit(t);
  });

  test('200 clients that never read their answers', async (t) => {
    const containers = Array.from({ length: 250 }, (_, index) => container(`c${index}`));
    const large = JSON.stringify(review(podWith({ spec: { containers } })));
    await Promise.all(
      Array.from({ length: 200 }, () =>
        dial((one) => {
          one.pause();
          one.write(rawHead(Buffer.byteLength(large)) + large);
        }),
      ),
    );
    await assertFair('meanwhile');
    hangUp();
    await assertFair('after');
    await assertWithinLimit(t);
  });

  test('four namespaces full of large LimitRanges, with pods that ask for an agent', async (t) => {
    const namespaces = await Promise.all(Array.from({ length: 4 }, () => cluster.namespace()));
    const spec = { limits: [{ type: 'Container', max: { cpu: '2' } }] };
    // Together almost the 16 MiB that the client reads of an answer.
    for (let index = 0; index < 60; index += 1) {
      const create = (namespace: string) => {
        const metadata = { namespace, name: `limits-${index}`, annotations: ANNOTATIONS };
        return cluster.client.create(LIMIT_RANGES, { metadata, spec } as never, { signal: cluster.signal });
      };
      await Promise.all(namespaces.map(create));
    }
    const pod = podWith({ annotations: { 'dcred.dev/reload': 'signal:HUP:main' } });
    for (const namespace of namespaces) {
      const { status, text } = await post(JSON.stringify(review(pod, { namespace })));
      assert.equal(status, 200);
      const patch = Buffer.from(JSON.parse(text).response.patch, 'base64').toString();
      assert.match(patch, /dcred-agent/);
    }
    await assertFair('after');
    await assertWithinLimit(t);
  });

  test('a pod of 8,000 containers through the API server', async () => {
    const namespace = await cluster.namespace();
    await cluster.createPod(namespace, 'web-0', { labels: { 'dcred.dev/inject': 'web' } });
    const containers = Array.from({ length: 8_000 }, (_, index) => ({ name: `c${index}`, image: 'localhost/none' }));
    const metadata = { namespace, name: 'web-1', labels: { 'dcred.dev/inject': 'web' } };
    const pod = { metadata, spec: { automountServiceAccountToken: false, containers } };
    const created = await cluster.client.create(PODS, pod, { signal: cluster.signal });
    assert.equal(created.metadata.annotations?.['secret.dcred.dev/web'], undefined);
    await assertFair('after');
  });
});
