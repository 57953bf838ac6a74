/**
 * `dcred audit` against a real API server and real TLS servers: BoringSSL with credentials, OpenSSL without. The kubelet is a fake;
 * the tests on a real node (`../e2e`) have a real one.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { DELEGATED_CREDENTIALS } from '../../src/api/resource-types.ts';
import { auditCommand } from '../../src/cli/cluster/audit.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { PODS, SECRETS } from '../../src/kubernetes/resource-type.ts';
import { Fleet } from '../../testing/cluster/audited-fleet.ts';
import type { Resource } from '../../testing/cluster/cluster.ts';
import { type FakeKubelet, startFakeKubelet } from '../../testing/cluster/fake-kubelet.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { startBoringServer } from '../../testing/peers/boringssl-server.ts';
import { findPeers } from '../../testing/peers/peers.ts';
import { createTestAuthority } from '../../testing/support/certificates.ts';
import { freePort } from '../../testing/support/ports.ts';
import { eventually } from '../../testing/support/processes.ts';
import { runCommand, temporaryDirectory } from '../cli/run-command.ts';
import { operatorsClient } from '../operator/cluster.ts';
import { startTlsServer } from '../probe/tls-server.ts';

const peers = await findPeers();
const CRD = join(import.meta.dirname, '../../crds/dcred.dev_delegatedcredentials.yaml');
const HOUR_MS = 3_600_000;
/** No server is out of time because the machine is busy, and no former credential either while the pods are made: they are older, or new. */
const UNHURRIED = ['--timeout', '5m', '--grace', '60m'];
/** Longer ago than the grace. */
const LONG_AGO = 2 * 3_600;

interface AuditedPod {
  readonly pod: string;
  readonly state: string;
  readonly message: string;
}

/** The value of one series. */
async function series(port: number, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(`${name} `))
      ?.slice(name.length + 1),
  );
}

describe('an audit', { skip: peers.available ? false : peers.reason }, () => {
  const stack = new AsyncDisposableStack();
  let plane: ControlPlane;
  let client: ApiClient;
  let kubelet: FakeKubelet;

  before(async () => {
    assert.ok(peers.available);
    plane = await startControlPlane();
    stack.defer(() => plane.stop());
    client = await operatorsClient(plane);
    stack.defer(() => client.close());
    await plane.kubectl(['apply', '-f', CRD]);
    await plane.untilServed('delegatedcredentials.dcred.dev');
    kubelet = stack.use(await startFakeKubelet(client, new AbortController().signal));
    await fill(peers.serverBinary);
  });
  after(() => stack.disposeAsync());

  /** One pod for each state, in the namespace `edge`. */
  async function fill(binary: string): Promise<void> {
    const authority = await createTestAuthority();
    const notBefore = new Date(Date.now() - 96 * HOUR_MS);
    const leaf = await authority.issue({ notBefore });
    await plane.kubectl(['create', 'namespace', 'edge']);
    const fleet = stack.use(new Fleet(client, 'edge', leaf, kubelet.nodeName));
    await fleet.createResource();
    const boring = async (directory: string) => stack.use(await startBoringServer({ binary, directory }));
    const openssl = async (files: typeof leaf) =>
      stack.use(await startTlsServer({ cert: files.certificatePem, key: files.keyPem }));
    const publish = async (name: string, port: number, secondsAgo = LONG_AGO) => {
      const secret = await fleet.makeSecret({ name, uid: await fleet.createPod(name, { port }) }, secondsAgo);
      await fleet.publish(secret);
    };

    // The server chooses its port and needs its files at the start: the pod is created last, and the Secret is then made for its uid.
    const first = await fleet.makeSecret({ name: 'former', uid: 'none' }, LONG_AGO + 3_600);
    const former = await boring(await fleet.mount(first));
    await publish('stale', former.port);
    await publish('updating', former.port, 5);

    const port = await freePort();
    const own = await fleet.makeSecret(
      { name: 'current', uid: await fleet.createPod('current', { port: 1 }) },
      LONG_AGO,
    );
    await fleet.publish(own);
    const current = await boring(await fleet.mount(own));
    await client.mergePatch(
      PODS,
      { namespace: 'edge', name: 'current' },
      { metadata: { annotations: { 'port.dcred.dev/web': String(current.port) } } },
      { signal: new AbortController().signal },
    );
    await publish('other', current.port);
    await publish('none', (await openssl(leaf)).port);
    await publish('wrong-leaf', (await openssl(await authority.issue({ notBefore }))).port);
    await publish('unreachable', port);
    const expired = await fleet.makeSecret({ name: 'expired', uid: 'none' }, 200_000);
    await publish('invalid', (await boring(await fleet.mount(expired))).port);

    const unknown = await fleet.createPod('no-port', { noPorts: true });
    await fleet.publish(await fleet.makeSecret({ name: 'no-port', uid: unknown }, LONG_AGO));
    await fleet.createPod('no-secret', {});
    const waiting = await fleet.createPod('not-running', { running: false });
    await fleet.publish(await fleet.makeSecret({ name: 'not-running', uid: waiting }, 5));
  }

  async function audit(...argv: readonly string[]) {
    return await runCommand(auditCommand, ['--kubeconfig', plane.kubeconfig, '-n', 'edge', ...UNHURRIED, ...argv]);
  }

  for (const way of ['port-forward', 'pod-ip'] as const) {
    test(`by ${way} reports what each pod serves`, async () => {
      const { status, stdout } = await audit('--via', way, '-o', 'json');
      const { findings, pods, resources } = JSON.parse(stdout);
      const states = Object.fromEntries((pods as readonly AuditedPod[]).map(({ pod, state }) => [pod, state]));
      // Every pod is named after the state that it is in.
      assert.deepEqual(states, Object.fromEntries(Object.keys(states).map((name) => [name, name])), stdout);
      assert.equal(pods.length, 11);
      assert.equal(findings, 8);
      assert.equal(status, 1);
      const [{ leaves, sameLeafEverywhere }] = resources;
      assert.equal(sameLeafEverywhere, false);
      assert.deepEqual(
        leaves.map((leaf: { pods: number }) => leaf.pods),
        [6, 1],
      );
    });
  }

  test('says what is wrong, and what to do', async () => {
    const { stdout } = await audit('-o', 'json', '--via', 'port-forward');
    const { pods } = JSON.parse(stdout) as { readonly pods: readonly AuditedPod[] };
    const messageOf = (name: string) => pods.find(({ pod }) => pod === name)?.message ?? '';
    assert.match(messageOf('stale'), /serves an earlier credential.*reload the server/);
    assert.match(messageOf('other'), /credential of pod edge\/current \(DelegatedCredential web\)/);
    assert.match(messageOf('invalid'), /expired at/);
    assert.match(messageOf('unreachable'), /error forwarding port/);
    assert.match(messageOf('no-port'), /port\.dcred\.dev\/web/);
  });

  test('prints a table: findings only, or every pod', async () => {
    const { stdout } = await audit('--via', 'pod-ip');
    assert.match(stdout, /^edge {7}web {2,}stale {2,}stale/m);
    assert.doesNotMatch(stdout, /^edge +web +current/m);
    assert.match(stdout, /the leaf is not the same everywhere/);
    assert.match(stdout, /^11 servers in \d+ s: 8 findings; 1 not running yet$/m);
    const wide = await audit('--via', 'pod-ip', '-o', 'wide');
    assert.match(wide.stdout, /^edge +web +current +current/m);
  });

  test('writes a report beside what it prints', async (t) => {
    const file = join(temporaryDirectory(t), 'report.html');
    const { stdout } = await audit('--via', 'pod-ip', '--report', file);
    assert.match(stdout, /8 findings/);
    const html = await readFile(file, 'utf8');
    assert.match(html, /^<!doctype html>.*8 findings among 11 servers/s);
    assert.doesNotMatch(html, /PRIVATE KEY|dc\.key"/);
    await assert.rejects(
      audit('--via', 'pod-ip', '--report', '/nowhere/report.html'),
      /cannot write the report: .*does not exist/,
    );
  });

  test('needs permission to forward ports, and says so for each pod', async () => {
    const reader = await plane.kubeconfigFor({ user: 'reader' });
    await plane.kubectl([
      'create',
      'clusterrole',
      'reader',
      '--verb=list',
      '--resource=pods,secrets,delegatedcredentials.dcred.dev',
    ]);
    await plane.kubectl(['create', 'clusterrolebinding', 'reader', '--clusterrole=reader', '--user=reader']);
    await plane.untilMay(true, 'reader', 'list', 'pods', '-n', 'edge');
    const argv = ['--kubeconfig', reader, '-n', 'edge', '--via', 'port-forward', '-o', 'json', ...UNHURRIED];
    const { pods } = JSON.parse((await runCommand(auditCommand, argv)).stdout) as {
      readonly pods: readonly AuditedPod[];
    };
    const reached = pods.filter(({ state }) => state !== 'unreachable').map(({ pod }) => pod);
    assert.deepEqual(reached.toSorted(), ['no-port', 'no-secret', 'not-running']);
    assert.match(
      pods.find(({ pod }) => pod === 'current')?.message ?? '',
      /cannot (get|create) resource "pods\/portforward"/,
    );
  });

  test('never reads the data of a Secret', async () => {
    const list = client.list.bind(client);
    const { collectAudit } = await import('../../src/audit/collect.ts');
    const asked: boolean[] = [];
    const watched: Pick<ApiClient, 'list'> = {
      list: (type, selection, options) => {
        if (type.plural === SECRETS.plural) asked.push(selection.metadataOnly === true);
        return list(type, selection, options);
      },
    };
    const scope = { namespaces: ['edge'], names: undefined, labelSelector: undefined };
    await collectAudit(watched, scope, new AbortController().signal);
    assert.deepEqual(asked, [true]);
  });

  test('on a schedule keeps the condition Serving, beside what the operator writes', async () => {
    const call = { signal: new AbortController().signal };
    const web = { namespace: 'edge', name: 'web' };
    const port = await freePort();
    const stop = new AbortController();
    const argv = ['--kubeconfig', plane.kubeconfig, '-n', 'edge', '--via', 'pod-ip', '--every', '10s', ...UNHURRIED];
    const addresses = ['--metrics-bind-address', `127.0.0.1:${port}`, '--health-probe-bind-address', '0'];
    const running = runCommand(auditCommand, [...argv, ...addresses], { signal: stop.signal });
    try {
      const serving = async () => {
        const { status } = await client.get<Resource>(DELEGATED_CREDENTIALS, web, call);
        return status?.conditions?.find(({ type }) => type === 'Serving');
      };
      const found = await eventually('the condition Serving', serving);
      assert.deepEqual([found.status, found.reason], ['False', 'ServedCredentialInvalid']);
      assert.match(found.message, /^8 of 11 servers: invalid: /);

      // The operator applies its own conditions, and neither takes over nor removes this one.
      const ready = {
        type: 'Ready',
        status: 'False',
        reason: 'Issuing',
        message: 'one',
        lastTransitionTime: found.lastTransitionTime,
      };
      const applied = { metadata: { ...web }, status: { conditions: [ready] } };
      await client.apply(DELEGATED_CREDENTIALS, applied, { ...call, subresource: 'status', force: true });
      const runs = () => series(port, 'dcred_audit_runs_total{outcome="success"}');
      const { metadata } = await client.get<Resource>(DELEGATED_CREDENTIALS, web, call);
      const before = await runs();
      await eventually('another audit', async () => ((await runs()) > before ? true : undefined));
      const after = await client.get<Resource>(DELEGATED_CREDENTIALS, web, call);
      assert.equal(
        after.metadata.resourceVersion,
        metadata.resourceVersion,
        'an audit that finds the same writes nothing',
      );
      assert.deepEqual(after.status?.conditions?.map(({ type }) => type).toSorted(), ['Ready', 'Serving']);

      assert.equal(await series(port, 'dcred_served_credential_stale{namespace="edge",name="web"}'), 5);
      // Events are written in the background.
      const ours = await eventually('seven Events', async () => {
        const { stdout } = await plane.kubectl(['get', 'events.v1.events.k8s.io', '-n', 'edge', '-o', 'json']);
        const events = JSON.parse(stdout).items as {
          reason: string;
          reportingController: string;
          regarding: { name: string };
        }[];
        const found = events.filter(({ reportingController }) => reportingController === 'dcred.dev/audit');
        return found.length >= 7 ? found : undefined;
      });
      assert.deepEqual(ours.map(({ reason, regarding }) => `${regarding.name} ${reason}`).toSorted(), [
        'invalid ServedCredentialInvalid',
        'no-port PortUnknown',
        'none NoCredentialServed',
        'other ServedCredentialUnknown',
        'stale ServedCredentialStale',
        'unreachable ServerUnreachable',
        'wrong-leaf ServedCertificateOutdated',
      ]);
    } finally {
      stop.abort();
      assert.equal((await running).status, 0);
    }
  });

  test('of what does not exist fails', async () => {
    await assert.rejects(audit('mail'), /no DelegatedCredential mail in namespace "edge"/);
    await assert.rejects(audit('--concurrency', '0'), { code: 'Usage' });
    await assert.rejects(audit('-A'), { code: 'Usage' });
  });
});
