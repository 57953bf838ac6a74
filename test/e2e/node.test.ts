import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { after, before, describe, type TestContext, test } from 'node:test';
import { loadConnection } from '../../src/kubernetes/connection/load-connection.ts';
import { PortForwarder } from '../../src/kubernetes/port-forward/port-forwarder.ts';
import { SHELL_IMAGE, shellImage } from '../../testing/node/images.ts';
import { type Node, startNode } from '../../testing/node/node.ts';
import { whyNoNode } from '../../testing/node/requirements.ts';
import { eventually } from '../../testing/support/processes.ts';
import { deployment, list, podSpec, service } from './workloads.ts';

/** The node itself, before anything of dcred's runs on it. */

/** Serves its own name. */
const WEB = podSpec({
  name: 'web',
  image: SHELL_IMAGE,
  command: ['sh', '-c', 'hostname >/tmp/index.html; echo "serving as $(hostname)"; exec httpd -f -p 8080 -h /tmp'],
  port: 8080,
});

const seconds = (since: number) => `${((performance.now() - since) / 1_000).toFixed(1)} s`;

describe('a real node', { skip: await whyNoNode() }, () => {
  let node: Node;
  let ready: string;

  before(async () => {
    const began = performance.now();
    node = await startNode();
    ready = seconds(began);
    await node.importImage(await shellImage());
  });
  after(() => node?.stop());

  async function text(...words: readonly string[]): Promise<string> {
    return (await node.plane.kubectl(words)).stdout.trim();
  }

  test('is ready, and says what it is', async (t: TestContext) => {
    t.diagnostic(`control plane and node ready after ${ready}`);
    const path = '{.items[*].status.nodeInfo.containerRuntimeVersion} {.items[*].status.addresses[0].address}';
    const [runtime, address] = (await text('get', 'nodes', '-o', `jsonpath=${path}`)).split(' ');
    assert.match(runtime ?? '', /^containerd:\/\/2\.4\./);
    assert.equal(address, node.network.nodeAddress);
  });

  test('runs the pods of a Deployment, in a namespace that is restricted', async (t: TestContext) => {
    await text('label', 'namespace', 'default', 'pod-security.kubernetes.io/enforce=restricted');
    const began = performance.now();
    await node.plane.kubectl(['apply', '-f', '-'], {
      input: list(deployment('web', 2, WEB), service('web', 80, 8080)),
    });
    await text('rollout', 'status', 'deployment/web', '--timeout=300s');
    t.diagnostic(`two pods ready after ${seconds(began)}`);
    assert.equal(await text('get', 'pods', '-o', 'jsonpath={.items[*].status.phase}'), 'Running Running');
  });

  test('gives out logs and runs commands', async () => {
    const [first = ''] = (await text('get', 'pods', '-o', 'jsonpath={.items[*].metadata.name}')).split(' ');
    assert.equal(await text('logs', first), `serving as ${first}`);
    assert.equal(await text('exec', first, '--', 'hostname'), first);
  });

  test('forwards a port of a pod, by its real kubelet and container runtime', async () => {
    const [first = ''] = (await text('get', 'pods', '-o', 'jsonpath={.items[*].metadata.name}')).split(' ');
    const connection = await loadConnection({ kubeconfig: node.plane.kubeconfig, env: {} });
    const forwarder = new PortForwarder(connection, { userAgent: 'test', randomBytes });
    const signal = new AbortController().signal;
    const pod = { namespace: 'default', pod: first };
    const web = await forwarder.connect({ ...pod, port: 8080 }, signal);
    web.write('GET / HTTP/1.0\r\n\r\n');
    const chunks: Buffer[] = [];
    for await (const chunk of web) chunks.push(chunk as Buffer);
    assert.ok(Buffer.concat(chunks).toString().trim().endsWith(first));

    const closed = await forwarder.connect({ ...pod, port: 8081 }, signal);
    await assert.rejects(once(closed, 'data'), /connection refused/i);
    await assert.rejects(forwarder.connect({ ...pod, pod: 'none', port: 8080 }, signal), { reason: 'NotFound' });
    forwarder.close();
  });

  test("answers at a Service's address, on this machine and in a pod, by each of its pods", async () => {
    const names = (await text('get', 'pods', '-o', 'jsonpath={.items[*].metadata.name}')).split(' ');
    const address = await text('get', 'service', 'web', '-o', 'jsonpath={.spec.clusterIP}');
    const met = new Set<string>();
    await eventually('an answer of each pod', async () => {
      // kube-proxy may not have heard of the pods yet.
      const response = await fetch(`http://${address}/`, { headers: { connection: 'close' } }).catch(() => undefined);
      if (response !== undefined) met.add((await response.text()).trim());
      return names.every((name) => met.has(name)) || undefined;
    });
    const inside = new Set<string>();
    await eventually('an answer of each pod, inside', async () => {
      inside.add(await text('exec', 'deploy/web', '--', 'wget', '-q', '-O', '-', `http://${address}/`));
      return names.every((name) => inside.has(name)) || undefined;
    });
    assert.deepEqual([...inside].sort(), names.sort());
  });

  test('knows a Service by its name in a pod, and no name of the world outside', async () => {
    const names = (await text('get', 'pods', '-o', 'jsonpath={.items[*].metadata.name}')).split(' ');
    for (const name of ['web', 'web.default.svc', 'web.default.svc.cluster.local']) {
      const answer = await text('exec', 'deploy/web', '--', 'wget', '-q', '-O', '-', `http://${name}/`);
      assert.ok(names.includes(answer), answer);
    }
    await assert.rejects(text('exec', 'deploy/web', '--', 'wget', '-q', '-O', '-', 'http://example.com/'), {
      message: /bad address 'example\.com'/,
    });
  });

  test("answers the API server's own address in a pod", async () => {
    const { stdout } = await node.plane.kubectl(['exec', 'deploy/web', '--', 'sh', '-c', REACHES_API]);
    assert.equal(stdout.trim(), 'reached');
  });
});

const REACHES_API = 'nc -w 60 "$KUBERNETES_SERVICE_HOST" "$KUBERNETES_SERVICE_PORT" </dev/null && echo reached';
