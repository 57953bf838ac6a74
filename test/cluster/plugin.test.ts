/** The commands of `kubectl dcred` that look into a cluster, beside a running operator and webhook. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import type { Finding } from '../../src/check/finding.ts';
import { bundleCommand } from '../../src/cli/cluster/bundle.ts';
import { checkCommand } from '../../src/cli/cluster/check.ts';
import { eventsCommand } from '../../src/cli/cluster/events.ts';
import { COMMANDS } from '../../src/cli/commands.ts';
import { completeCommand } from '../../src/cli/completion/complete-command.ts';
import { completionCommand, KUBECTL_COMPLETION_FILE } from '../../src/cli/completion/completion.ts';
import { inspectCommand } from '../../src/cli/inspect/inspect.ts';
import { PODS, SECRETS } from '../../src/kubernetes/resource-type.ts';
import type { ReportedEvent } from '../../src/status/events.ts';
import { type Cluster, OPERATOR_ACCOUNT, startCluster } from '../../testing/cluster/cluster.ts';
import { type OperatorProcess, startOperator } from '../../testing/cluster/operator-process.ts';
import { pointAt, SYSTEM, startWebhook, type WebhookProcess } from '../../testing/cluster/webhook-process.ts';
import { createTestAuthority, type TestAuthority } from '../../testing/support/certificates.ts';
import { eventually } from '../../testing/support/processes.ts';
import { runLine } from '../cli/frame.ts';
import { runCommand, temporaryDirectory } from '../cli/run-command.ts';
import { servedNamespace } from './scenario.ts';

const { signal } = new AbortController();
let cluster: Cluster;
let authority: TestAuthority;
let operator: OperatorProcess | undefined;
let webhook: WebhookProcess | undefined;

before(async () => {
  cluster = await startCluster({ webhook: true, controllerManager: true });
  authority = await createTestAuthority();
  const env = { POD_NAMESPACE: SYSTEM };
  operator = await startOperator({ kubeconfig: cluster.operatorKubeconfig, args: ['--leader-elect=true'], env });
  webhook = await startWebhook(cluster);
  await webhook.ready();
  await pointAt(cluster, webhook.port, 'Ignore');
});
after(async () => {
  await webhook?.stop();
  await operator?.stop();
  await cluster?.[Symbol.asyncDispose]();
});

describe('dcred check', () => {
  async function check(args: readonly string[], kubeconfig = cluster.plane.kubeconfig) {
    const outcome = await runCommand(checkCommand, [...args, '-o', 'json', '--kubeconfig', kubeconfig]);
    const findings = JSON.parse(outcome.stdout) as readonly Finding[];
    return {
      status: outcome.status,
      of: (name: string) => findings.filter(({ check: one }) => one === name),
      findings,
    };
  }

  test('finds a good cluster good, and that no node runs the operator', async () => {
    const namespace = await servedNamespace({ authority, cluster });
    const { findings, of, status } = await check(['-n', namespace]);
    assert.equal(status, 1);
    assert.deepEqual(
      findings.filter(({ level }) => level !== 'ok').map(({ check: name, message }) => [name, message.split(':')[0]]),
      [
        ['Operator', 'dcred-system/dcred 0.1.0 (registry.invalid/dcred'],
        ['Webhook', 'dcred-system/dcred-webhook 0.1.0 (registry.invalid/dcred'],
      ],
    );
    assert.match(of('ApiServer')[0]?.message ?? '', /^Kubernetes v1\.\d+\.\d+ at https:\/\/127\.0\.0\.1/);
    assert.match(of('Certificate')[0]?.message ?? '', /CN=web\.example in Secret .*\/web-tls can delegate/);
    assert.match(of('Injection')[0]?.message ?? '', /is injected \(tried by a dry run\)/);
    assert.equal(of('OperatorPermissions').length, 2);
    const { stdout } = await cluster.plane.kubectl(['get', 'pods', '-n', namespace, '-o', 'name']);
    assert.equal(stdout, '', 'the pod of the dry run was not stored');
  });

  test('gives the reasons of the operator for certificates that cannot delegate', async () => {
    const namespace = await servedNamespace({ authority, cluster });
    const plain = await authority.issue({ delegationUsage: false });
    const other = await authority.issue();
    await cluster.putCertificate(namespace, 'plain', plain);
    await cluster.putCertificate(namespace, 'mixed', { ...plain, keyPem: other.keyPem });
    for (const name of ['plain', 'mixed', 'absent'] as const) {
      await cluster.createResource(namespace, name, { certificateRef: { name } });
    }
    const { of } = await check(['-n', namespace]);
    for (const name of ['plain', 'mixed', 'absent']) {
      const ready = await eventually(`a report on ${name}`, () => cluster.ready(namespace, name));
      const [finding, ...more] = of(ready.reason).filter(({ message }) => message.includes(`${namespace}/${name}:`));
      assert.deepEqual([finding?.level, more], ['problem', []], ready.reason);
      assert.ok(finding?.message.endsWith(ready.message), `${finding?.message} and ${ready.message}`);
    }
  });

  test('checks a certificate before there is a resource', async () => {
    const namespace = await cluster.namespace();
    await cluster.putCertificate(namespace, 'web-tls', await authority.issue());
    const { of } = await check(['-n', namespace, '--certificate', 'web-tls', '--certificate', 'absent']);
    assert.match(of('Certificate')[0]?.message ?? '', /^your certificate: CN=web\.example/);
    assert.equal(of('CertificateNotFound')[0]?.level, 'problem');
  });

  test('says what the operator and the user may not do', async () => {
    const namespace = await servedNamespace({ authority, cluster });
    await cluster.untilReason(namespace, 'web', 'NoPods');
    const kubeconfig = await cluster.plane.kubeconfigFor({ user: 'viewer' });
    await cluster.plane.kubectl([
      'create',
      'rolebinding',
      'viewer',
      '--clusterrole=view',
      '--user=viewer',
      '-n',
      namespace,
    ]);
    const mine = await eventually('the role to be aggregated', async () => {
      const checked = await check(['-n', namespace], kubeconfig);
      return checked.of('Certificate').length > 0 && checked.of('YourPermissions').length > 0 ? checked : undefined;
    });
    assert.ok(mine.of('YourPermissions').some(({ message }) => /you may not list secrets/.test(message)));
    assert.match(mine.of('Operator')[0]?.message ?? '', /no permission to list Deployments/);
    assert.match(
      mine.of('Certificate')[0]?.message ?? '',
      /no permission to read Secret .*; the operator reports NoPods/,
    );
    assert.ok(!mine.findings.some(({ message }) => message.includes('could not be checked')));

    const binding = ['clusterrolebinding', 'dcred-system:dcred-operator'];
    const { stdout: saved } = await cluster.plane.kubectl(['get', ...binding, '-o', 'json']);
    await cluster.plane.kubectl(['delete', ...binding]);
    try {
      await cluster.plane.untilMay(false, OPERATOR_ACCOUNT, 'get', 'delegatedcredentials.dcred.dev', '-n', namespace);
      const { of } = await check(['-n', namespace]);
      assert.ok(
        of('OperatorPermissions').some(
          ({ level, message }) =>
            level === 'problem' && /may not get delegatedcredentials\.dcred\.dev, list /.test(message),
        ),
      );
    } finally {
      await cluster.plane.kubectl(['create', '-f', '-'], { input: saved });
    }
  });

  test('sees a webhook that the API server cannot call', async () => {
    const namespace = await cluster.namespace();
    const { port = 0 } = webhook ?? {};
    // The API server learns of a changed webhook a moment later.
    const untilFound = (expected: RegExp) =>
      eventually(`a finding ${expected}`, async () =>
        (await check(['-n', namespace])).of('Injection').find(({ message }) => expected.test(message)),
      );
    try {
      await pointAt(cluster, 1, 'Ignore');
      await untilFound(/without the webhook/);
      await pointAt(cluster, 1, 'Fail');
      await untilFound(/failed calling webhook/);
    } finally {
      await pointAt(cluster, port, 'Ignore');
    }
  });

  test('says of issuers without dcred issuer and without cert-manager what is missing', async () => {
    const namespace = await cluster.namespace();
    const none = await check(['-n', namespace]);
    assert.deepEqual([...none.of('Issuer'), ...none.of('CertManager'), ...none.of('DelegationIssuer')], []);
    const spec = { ca: { secretName: 'ca' } };
    const object = {
      apiVersion: 'dcred.dev/v1alpha1',
      kind: 'DelegationIssuer',
      metadata: { namespace, name: 'web' },
      spec,
    };
    await cluster.plane.kubectl(['create', '-f', '-'], { input: JSON.stringify(object) });
    const { of, status } = await check(['-n', namespace]);
    assert.equal(status, 1);
    assert.match(of('Issuer')[0]?.remedy ?? '', /issuer\.enabled=true/);
    assert.match(of('CertManager')[0]?.message ?? '', /does not serve cert-manager\.io\/v1/);
    assert.match(
      of('DelegationIssuer')[0]?.message ?? '',
      new RegExp(`${namespace}/web: dcred issuer has not reported`),
    );
  });

  test('says each thing once to an anonymous user, and calls nothing good that it could not see', async () => {
    const kubeconfig = await cluster.plane.kubeconfigFor({ user: 'nobody' });
    const { users, ...rest } = JSON.parse(await readFile(kubeconfig, 'utf8')) as { users: { name: string }[] };
    const anonymous = { ...rest, users: users.map(({ name }) => ({ name, user: {} })) };
    await writeFile(kubeconfig, JSON.stringify(anonymous));
    const { findings, of } = await check([], kubeconfig);
    const messages = findings.map(({ message }) => message);
    assert.deepEqual(messages, [...new Set(messages)]);
    assert.equal(messages.filter((message) => message.includes('get /apis')).length, 1);
    assert.deepEqual([...new Set(of('Certificate').map(({ level }) => level))], ['warning']);
  });

  test('says why there is no answer at all', async () => {
    const kubeconfig = await cluster.plane.kubeconfigFor({ user: 'nobody' });
    await writeFile(kubeconfig, (await readFile(kubeconfig, 'utf8')).replace(/127\.0\.0\.1:\d+/, '127.0.0.1:1'));
    const { findings, status } = await check([], kubeconfig);
    assert.equal(status, 1);
    assert.deepEqual([findings.length, findings[0]?.check, findings[0]?.level], [1, 'ApiServer', 'problem']);
  });
});

/** Three pods with credentials, and one that cannot have any: its Secret's name is taken. */
async function namespaceWithPods(): Promise<string> {
  const namespace = await servedNamespace({ authority, cluster });
  await cluster.putCertificate(namespace, 'taken', await authority.issue());
  await cluster.createPods(namespace, 3);
  await cluster.createPod(namespace, 'clash', {
    labels: { app: 'web' },
    annotations: { 'secret.dcred.dev/web': 'taken' },
  });
  await cluster.untilSecrets(namespace, 3);
  await cluster.untilReason(namespace, 'web', 'PodsFailed');
  return namespace;
}

/** The default is two seconds, which a busy machine may need to start a process. */
const UNHURRIED = { DCRED_COMPLETION_TIMEOUT: '5m' };

/** kubectl itself completes its plug-in, by the files that a release has. */
describe('kubectl completes dcred', () => {
  let folder: string;
  let env: Readonly<Record<string, string>>;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'dcred-test-'));
    const main = join(import.meta.dirname, '..', '..', 'src', 'main.ts');
    const plugin = `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`;
    await writeFile(join(folder, 'kubectl-dcred'), plugin, { mode: 0o755 });
    const { stdout } = await runCommand(completionCommand, ['kubectl']);
    await writeFile(join(folder, KUBECTL_COMPLETION_FILE), stdout, { mode: 0o755 });
    env = { PATH: `${folder}${delimiter}${process.env['PATH']}`, ...UNHURRIED };
  });
  after(() => rm(folder, { recursive: true, force: true }));

  /** As the script of `kubectl completion bash` calls it. */
  async function offered(...words: readonly string[]): Promise<readonly string[]> {
    const { stdout } = await cluster.plane.kubectl(['__complete', 'dcred', ...words], { env });
    return stdout.trimEnd().split('\n');
  }

  /** The same, in this process. */
  async function completed(...words: readonly string[]): Promise<readonly string[]> {
    return await completedWith(UNHURRIED, ...words);
  }

  async function completedWith(
    env: Readonly<Record<string, string>>,
    ...words: readonly string[]
  ): Promise<readonly string[]> {
    const { stdout } = await runCommand(
      completeCommand(() => COMMANDS),
      ['--', ...words],
      { env },
    );
    return stdout.trimEnd().split('\n');
  }

  test('with commands and options', async () => {
    assert.deepEqual(await offered('versi'), ['version\tprint the version', ':4']);
    assert.deepEqual(await offered('status', '--output='), ['text', 'json', ':4']);
  });

  test('with names of the cluster', async () => {
    const namespace = await servedNamespace({ authority, cluster });
    await cluster.createPods(namespace, 1);
    const [secret] = await cluster.untilSecrets(namespace, 1);
    const scope = ['--kubeconfig', cluster.plane.kubeconfig, '-n', namespace];
    assert.deepEqual(await offered('status', ...scope, ''), ['web', ':4']);
    assert.deepEqual(await completed('status', ...scope, 'web', ''), [':4']);
    assert.deepEqual(await completed('inspect', ...scope, 'secret/'), [`secret/${secret?.metadata.name}`, ':4']);
    assert.deepEqual(await completed('inspect', ...scope, 'pod', ''), ['web-0', ':4']);
    assert.deepEqual(await completed('check', ...scope, '--certificate', ''), ['web-tls', ':4']);
    assert.deepEqual(await completed('check', ...scope.slice(0, 2), `--namespace=${namespace}`), [namespace, ':4']);
    const [context] = await completed('check', ...scope.slice(0, 2), '--context', '');
    const { stdout } = await cluster.plane.kubectl(['config', 'current-context']);
    assert.equal(context, stdout.trim());
  });

  test('with nothing, where they may not be listed', async () => {
    const kubeconfig = await cluster.plane.kubeconfigFor({ user: 'nobody' });
    assert.deepEqual(await completed('status', '--kubeconfig', kubeconfig, ''), [':4']);
  });

  test('with nothing, without hanging, where the API server accepts connections and does not answer', async () => {
    await using silent = await silentServer();
    const kubeconfig = await cluster.plane.kubeconfigFor({ user: 'late' });
    const address = `127.0.0.1:${silent.port}`;
    await writeFile(kubeconfig, (await readFile(kubeconfig, 'utf8')).replace(/127\.0\.0\.1:\d+/, address));
    for (const limit of [{}, { DCRED_COMPLETION_TIMEOUT: '1s' }, { DCRED_COMPLETION_TIMEOUT: 'a while' }])
      assert.deepEqual(await completedWith(limit, 'status', '--kubeconfig', kubeconfig, ''), [':4']);
  });
});

/** Accepts connections and never answers, until it is disposed of. */
async function silentServer(): Promise<AsyncDisposable & { readonly port: number }> {
  const server = createServer();
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => sockets.add(socket.on('error', () => {})));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

describe('in a namespace with pods', () => {
  let namespace: string;
  const ofNamespace = () => ['-n', namespace, '--kubeconfig', cluster.plane.kubeconfig];

  before(async () => {
    namespace = await namespaceWithPods();
  });

  test('dcred events shows what was issued, and what was not and why', async () => {
    const events = await eventually('the Events', async () => {
      const { stdout } = await runCommand(eventsCommand, [...ofNamespace(), '-o', 'json']);
      const all = JSON.parse(stdout) as readonly ReportedEvent[];
      return all.some(({ reason }) => reason === 'SecretNameTaken') && all.some(({ reason }) => reason === 'Missing')
        ? all
        : undefined;
    });
    const taken = events.find(({ reason }) => reason === 'SecretNameTaken');
    assert.deepEqual([taken?.object, taken?.type], ['pod/clash', 'Warning']);
    const { stdout } = await runCommand(eventsCommand, ['web', '--type', 'Warning', ...ofNamespace()]);
    const [header = '', ...lines] = stdout.trimEnd().split('\n');
    assert.match(header, /^LAST SEEN +TYPE +REASON +OBJECT +COUNT +MESSAGE$/);
    assert.ok(lines.length > 0 && lines.every((line) => / Warning /.test(line)), stdout);
    const all = await runCommand(eventsCommand, ['-A', '--kubeconfig', cluster.plane.kubeconfig]);
    assert.match(all.stdout, new RegExp(`^${namespace} .* SecretNameTaken +pod/clash `, 'm'));
    const none = await runCommand(eventsCommand, ['other', ...ofNamespace()]);
    assert.match(none.stderr, /^no Events of dcred on other in namespace/);
  });

  test("dcred events shows them even where another client writes one in dcred's name that is about no object", async () => {
    const event = {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: { namespace, name: 'odd' },
      eventTime: '2027-01-15T08:00:00.000000Z',
      reportingController: 'dcred.dev/operator',
      reportingInstance: 'another client',
      action: 'Odd',
      reason: 'Odd',
      type: 'Normal',
      regarding: { namespace },
    };
    await cluster.plane.kubectl(['create', '-f', '-'], { input: JSON.stringify(event) });
    const { stdout } = await runCommand(eventsCommand, ofNamespace());
    assert.match(stdout, / Odd /);
    assert.match(stdout, / SecretNameTaken /);
  });

  test('dcred status names the option of an invalid selector', async () => {
    for (const selector of ['==', 'app in (web', 'a=b=c', 'app in', '!']) {
      const { status, stderr } = await runLine(COMMANDS, ['status', '-l', selector, ...ofNamespace()]);
      assert.equal(status, 1);
      assert.match(stderr, /\nCheck the selector of -l: /, selector);
    }
  });

  test('dcred inspect reads a live Secret, and a pod with all that was issued to it', async () => {
    const secret = await runCommand(inspectCommand, ['secret/web-web-0', ...ofNamespace()]);
    assert.match(secret.stdout, /^ {2}verified +yes: key, credential and certificate belong together/m);
    const pod = await runCommand(inspectCommand, ['pod', 'web-1', ...ofNamespace()]);
    assert.match(
      pod.stdout,
      new RegExp(`^Pod ${namespace}/web-1\\n {2}requests +\\(nothing\\)\\n {2}Secrets +web-web-1\\n`),
    );
    assert.match(pod.stdout, /^Secret .*\/web-web-1$/m);
    const clash = await runCommand(inspectCommand, ['pod/clash', '-o', 'json', ...ofNamespace()]);
    const { problems } = JSON.parse(clash.stdout) as { problems: { code: string }[] };
    assert.deepEqual(
      problems.map(({ code }) => code),
      ['NotIssued', 'NotSelected'],
    );
    for (const { stdout } of [secret, pod, clash]) assert.doesNotMatch(stdout, /PRIVATE KEY/);
    const absent = runCommand(inspectCommand, ['secret/nosuch', ...ofNamespace()]);
    await assert.rejects(absent, /there is no Secret "nosuch" in namespace/);
  });

  test('dcred bundle reads no data of a Secret, and has what is needed to find a fault', async (t) => {
    const file = join(temporaryDirectory(t), 'bundle.tar.gz');
    const { status, stderr } = await runCommand(bundleCommand, ['--file', file, ...ofNamespace()]);
    assert.equal(status, 0);
    // No node runs the pods of the chart, so the only missing part is their logs.
    for (const line of stderr.trimEnd().split('\n').slice(0, -1)) assert.match(line, /^not in the archive: log of /);
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    const text = gunzipSync(await readFile(file)).toString();
    const secrets = await cluster.client.list<{ data?: Record<string, string> }>(SECRETS, { namespace }, { signal });
    for (const [key, value] of secrets.items.flatMap(({ data = {} }) => Object.entries(data))) {
      assert.ok(!text.includes(value.slice(0, 40)), key);
    }
    assert.doesNotMatch(text, /-----BEGIN/);
    for (const kept of ['PodsFailed', 'SecretNameTaken', 'web-web-0', '"hasCaBundle": true'])
      assert.ok(text.includes(kept), kept);
    await assert.rejects(runCommand(bundleCommand, ['--file', file, ...ofNamespace()]), /exists: name another file/);
  });

  test('dcred bundle reads the logs of dcred first, whoever has its label on pods of their own', async (t) => {
    const { plane } = cluster;
    const pod = (name: number) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        // Before dcred's own in any order.
        namespace: '0-tenant',
        name: `fake-${name}`,
        labels: { 'app.kubernetes.io/part-of': 'dcred' },
      },
      spec: { containers: [{ name: 'main', image: 'none' }] },
    });
    const items = Array.from({ length: 20 }, (_, name) => pod(name));
    await plane.kubectl(['create', 'namespace', '0-tenant']);
    t.after(() => plane.kubectl(['delete', 'namespace', '0-tenant', '--wait=false']));
    await plane.kubectl(['create', '-f', '-'], {
      input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }),
    });
    const file = join(temporaryDirectory(t), 'bundle.tar.gz');
    const { stderr } = await runCommand(bundleCommand, ['--file', file, ...ofNamespace()]);
    const text = gunzipSync(await readFile(file)).toString();
    const logs = [...text.matchAll(/^ {2}"\d+\.log": "([^/]+)\//gm)].map(([, place]) => place);
    assert.equal(logs.length, 16);
    const own = logs.filter((place) => place !== '0-tenant').length;
    const pods = await cluster.client.list(PODS, { labelSelector: 'app.kubernetes.io/part-of=dcred' }, { signal });
    assert.equal(own, pods.items.filter(({ metadata }) => metadata.namespace !== '0-tenant').length);
    assert.match(
      stderr,
      new RegExp(`^not in the archive: logs of ${own + 4} pods: ${own + 20} have the label .* with -s$`, 'm'),
    );
  });

  test('dcred bundle says what it may not read, and goes on', async (t) => {
    const file = join(temporaryDirectory(t), 'bundle.tar.gz');
    const { plane } = cluster;
    const kubeconfig = await plane.kubeconfigFor({ user: 'reader' });
    const role = ['create', 'rolebinding', 'reader', '--clusterrole=view', '--user=reader', '-n', namespace];
    await plane.kubectl(role);
    const outcome = await eventually('the role to hold', async () => {
      await rm(file, { force: true });
      const run = await runCommand(bundleCommand, ['--file', file, '-n', namespace, '--kubeconfig', kubeconfig]);
      return run.stderr.includes('delegatedcredentials: ') ? undefined : run;
    });
    assert.equal(outcome.status, 0);
    const text = gunzipSync(await readFile(file)).toString();
    for (const what of ['deployments', 'pods and secrets', 'pods of dcred']) {
      assert.match(text, new RegExp(`"${what}: .*forbidden`), what);
      assert.match(outcome.stderr, new RegExp(`^not in the archive: ${what}: .*forbidden`, 'm'), what);
    }
  });

  test('dcred bundle fails where it may read nothing, or gets no answer', async (t) => {
    const file = join(temporaryDirectory(t), 'bundle.tar.gz');
    const kubeconfig = await cluster.plane.kubeconfigFor({ user: 'nobody' });
    const bundle = ['--file', file, '-n', namespace, '--kubeconfig', kubeconfig];
    for (const expected of [/forbidden/, /ECONNREFUSED/]) {
      const { status, stderr } = await runCommand(bundleCommand, bundle);
      const [summary, ...missing] = stderr.trimEnd().split('\n').slice(0, -1);
      assert.match(summary ?? '', /^nothing could be read from the cluster/);
      assert.equal(missing.length, 6);
      for (const line of missing) assert.match(line, expected);
      for (const line of missing) assert.ok(line.length < 400, line);
      assert.equal(status, 1);
      await rm(file);
      await writeFile(kubeconfig, (await readFile(kubeconfig, 'utf8')).replace(/127\.0\.0\.1:\d+/, '127.0.0.1:1'));
    }
  });
});
