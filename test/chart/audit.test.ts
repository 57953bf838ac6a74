/** dcred's whole life under the API server's audit log: what its accounts used equals what the chart grants them. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { auditCommand } from '../../src/cli/cluster/audit.ts';
import { PODS } from '../../src/kubernetes/resource-type.ts';
import {
  type Access,
  AUDITED_ACCESS,
  compareAccess,
  grants,
  type RbacObject,
  uses,
} from '../../testing/cluster/access.ts';
import { type Cluster, type ClusterOptions, startCluster } from '../../testing/cluster/cluster.ts';
import { type OperatorProcess, startOperator } from '../../testing/cluster/operator-process.ts';
import { pointAt, SYSTEM, startWebhook, type WebhookProcess } from '../../testing/cluster/webhook-process.ts';
import { createTestAuthority } from '../../testing/support/certificates.ts';
import { eventually } from '../../testing/support/processes.ts';
import { runCommand } from '../cli/run-command.ts';

const NAMESPACE = 'audited';
const LABELLED = { labels: { app: 'web', 'dcred.dev/inject': 'web' } };

/** dcred as the chart installs it, on its own control plane. */
class Release implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly operator: OperatorProcess;
  readonly webhook: WebhookProcess;

  constructor(cluster: Cluster, operator: OperatorProcess, webhook: WebhookProcess) {
    this.cluster = cluster;
    this.operator = operator;
    this.webhook = webhook;
  }

  static async start(options: ClusterOptions = {}): Promise<Release> {
    const cluster = await startCluster({
      audit: AUDITED_ACCESS,
      webhook: true,
      helm: ['--set', 'audit.enabled=true'],
      ...options,
    });
    const webhook = await startWebhook(cluster);
    await pointAt(cluster, webhook.port);
    await webhook.ready();
    const operator = await startOperator({
      kubeconfig: cluster.operatorKubeconfig,
      args: ['--leader-elect=true'],
      env: { POD_NAMESPACE: SYSTEM, POD_NAME: 'dcred-0' },
    });
    return new Release(cluster, operator, webhook);
  }

  async used(): Promise<readonly Access[]> {
    return uses(await this.cluster.plane.auditLog());
  }

  async granted(): Promise<readonly Access[]> {
    const kinds = 'roles,rolebindings,clusterroles,clusterrolebindings';
    const selector = ['-A', '-l', 'app.kubernetes.io/part-of=dcred', '-o', 'json'];
    const { stdout } = await this.cluster.plane.kubectl(['get', kinds, ...selector]);
    return grants((JSON.parse(stdout) as { readonly items: readonly RbacObject[] }).items);
  }

  async issuedFor(reason: string): Promise<void> {
    const series = `dcred_credentials_issued_total{reason="${reason}"}`;
    await eventually(`a credential issued for ${reason}`, async () =>
      (await this.operator.metric(series)) > 0 ? true : undefined,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.operator.stop();
    await this.webhook.stop();
    await this.cluster[Symbol.asyncDispose]();
  }
}

/** Scheduled audits, as the chart runs them: of a pod whose port is unknown, which stops and then runs again. */
async function auditedTwice({ cluster }: Release, pod: string): Promise<void> {
  const identity = { serviceAccount: { namespace: SYSTEM, name: 'dcred-audit' } };
  const kubeconfig = await cluster.plane.kubeconfigFor(identity);
  const stop = new AbortController();
  const off = ['--metrics-bind-address', '0', '--health-probe-bind-address', '0'];
  const argv = ['--kubeconfig', kubeconfig, '--every', '10s', '--via', 'pod-ip', '-A', ...off];
  const running = runCommand(auditCommand, argv, { signal: stop.signal });
  const phase = async (status: object) => {
    const options = { signal: new AbortController().signal, subresource: 'status' };
    await cluster.client.mergePatch(PODS, { namespace: NAMESPACE, name: pod }, { status }, options);
  };
  const serving = (expected: string) =>
    eventually(`Serving to be ${expected}`, async () => {
      const { status } = await cluster.resource(NAMESPACE, 'web');
      const found = status?.conditions?.find(({ type }) => type === 'Serving');
      return found?.status === expected ? true : undefined;
    });
  try {
    for (let time = 0; time < 2; time += 1) {
      await phase({ phase: 'Running', podIP: '127.0.0.1', podIPs: [{ ip: '127.0.0.1' }] });
      await serving('False');
      await phase({ phase: 'Pending' });
      await serving('Unknown');
    }
  } finally {
    stop.abort();
    await running;
  }
}

/** A certificate of a guarded namespace, granted to namespaces by label, and a resource that may use it. No pod does yet. */
async function useGrant({ cluster }: Release) {
  const authority = await createTestAuthority();
  const [owner, consumer] = [await cluster.namespace('audited-vault'), await cluster.namespace('audited-edge')];
  await cluster.plane.kubectl(['label', 'namespace', consumer, 'tier=edge']);
  await cluster.putCertificate(owner, 'web-tls', await authority.issue());
  const spec = {
    certificateRef: { name: 'web-tls' },
    from: [{ namespaceSelector: { matchLabels: { tier: 'edge' } } }],
    onWithdraw: 'Delete',
  };
  const metadata = { namespace: owner, name: 'edge' };
  const grant = { apiVersion: 'dcred.dev/v1alpha1', kind: 'DelegationGrant', metadata, spec };
  await cluster.plane.kubectl(['create', '-f', '-'], { input: JSON.stringify(grant) });
  const podSelector = { matchLabels: { app: 'granted' } };
  await cluster.createResource(consumer, 'web', { certificateRef: { name: 'web-tls', namespace: owner }, podSelector });
  await cluster.untilReason(consumer, 'web', 'NoPods');
  return { owner, consumer };
}

/** The same, with a pod, and then the grant's withdrawal. */
async function withdrawGrant(release: Release): Promise<void> {
  const { cluster } = release;
  const { consumer, owner } = await useGrant(release);
  await cluster.plane.kubectl(['wait', '--for=create', 'serviceaccount/default', '-n', consumer, '--timeout=4m']);
  await cluster.createPod(consumer, 'web-a', { labels: { app: 'granted' } });
  await cluster.untilSecrets(consumer, 1);
  await cluster.plane.kubectl(['delete', 'dcgrant', 'edge', '-n', owner]);
  await cluster.untilSecrets(consumer, 0);
}

/** Every write that dcred makes, and every read before one. */
async function wholeLife(release: Release): Promise<void> {
  const { cluster } = release;
  const authority = await createTestAuthority();
  await cluster.namespace(NAMESPACE);
  await cluster.plane.kubectl(['wait', '--for=create', 'serviceaccount/default', '-n', NAMESPACE, '--timeout=4m']);
  await cluster.putCertificate(NAMESPACE, 'web-tls', await authority.issue());

  // Create, ungate, re-issue and nudge, relabel.
  await cluster.createResource(NAMESPACE, 'web', { certificateRef: { name: 'web-tls' } });
  await cluster.createPod(NAMESPACE, 'web-a', LABELLED);
  // With an agent, for which the webhook reads the namespace's LimitRanges.
  const annotations = { 'dcred.dev/reload': 'signal:HUP:nginx' };
  await cluster.createPod(NAMESPACE, 'web-b', { ...LABELLED, annotations });
  await cluster.untilSecrets(NAMESPACE, 2);
  await cluster.untilReason(NAMESPACE, 'web', 'Issued');
  await cluster.patchResource(NAMESPACE, 'web', { keyAlgorithm: 'ECDSAP384' });
  await release.issuedFor('SpecChanged');
  await cluster.patchResource(NAMESPACE, 'web', { secretTemplate: { labels: { team: 'web' } } });
  await eventually('the label', async () =>
    (await cluster.secrets(NAMESPACE)).every(({ metadata }) => metadata.labels?.['team'] === 'web') ? true : undefined,
  );

  await auditedTwice(release, 'web-a');

  // A pod that is gone, and a name that is taken, which is retried and counted in one Event.
  await cluster.deletePod(NAMESPACE, 'web-b');
  await cluster.untilSecrets(NAMESPACE, 1);
  await cluster.plane.kubectl(['create', 'secret', 'generic', 'taken-web-c', '-n', NAMESPACE]);
  await cluster.createResource(NAMESPACE, 'taken', {
    certificateRef: { name: 'web-tls' },
    podSelector: { matchLabels: { app: 'taken' } },
  });
  await cluster.createPod(NAMESPACE, 'web-c', { labels: { app: 'taken' } });
  await cluster.untilReason(NAMESPACE, 'taken', 'PodsFailed');

  await withdrawGrant(release);

  // A resource that is gone.
  await cluster.plane.kubectl(['delete', 'dcred', 'web', '-n', NAMESPACE]);
  await cluster.untilSecrets(NAMESPACE, 0);
}

describe('what the operator and the webhook request', () => {
  test('is what the chart grants, no more and no less', async () => {
    // Before Kubernetes 1.34 an API server does not stream lists by default: then every cache is filled by a list.
    await using older = await Release.start({ featureGates: { WatchList: false } });
    await using release = await Release.start({
      controllerManager: true,
      // It would delete the Secrets of gone pods before the operator does.
      extraArgs: { 'kube-controller-manager': ['--controllers=*,-garbage-collector-controller'] },
    });
    await Promise.all([wholeLife(release), useGrant(older)]);
    const granted = await release.granted();
    const report = async () => compareAccess(granted, [...(await older.used()), ...(await release.used())]);
    // Some come in their own time: a repeated Event, a renewed lease.
    const found = await eventually('every permission to be used', async () => {
      const { unused } = await report();
      return unused.length === 0 ? await report() : undefined;
    }).catch(report);
    assert.ok(granted.length > 0);
    assert.deepEqual(found, { ungranted: [], unused: [] });
  });
});

describe('the comparison', () => {
  const role: RbacObject = {
    kind: 'Role',
    metadata: { name: 'r', namespace: 'a' },
    rules: [{ apiGroups: [''], resources: ['secrets', 'pods/status'], resourceNames: ['one'], verbs: ['get'] }],
  };
  const binding: RbacObject = {
    kind: 'RoleBinding',
    metadata: { name: 'b', namespace: 'a' },
    roleRef: { kind: 'Role', name: 'r' },
    subjects: [{ kind: 'ServiceAccount', name: 'dcred', namespace: 'dcred-system' }],
  };
  const user = 'system:serviceaccount:dcred-system:dcred';
  const request = (resource: string, name: string, namespace = 'a', verb = 'get', subresource?: string) => ({
    stage: 'ResponseComplete' as const,
    verb,
    requestURI: '',
    user: { username: user },
    objectRef: { resource, name, namespace, ...(subresource === undefined ? {} : { subresource }) },
    requestReceivedTimestamp: '',
    stageTimestamp: '',
  });
  const compare = (...requests: readonly ReturnType<typeof request>[]) =>
    compareAccess(grants([role, binding]), uses(requests));

  test('finds nothing where all that is granted is used', () => {
    const report = compare(request('secrets', 'one'), request('pods', 'one', 'a', 'get', 'status'));
    assert.deepEqual(report, { ungranted: [], unused: [] });
  });

  test('names a permission that no request needed', () => {
    assert.deepEqual(compare(request('secrets', 'one')).unused, ['dcred: get pods/status in a, name one']);
  });

  for (const [what, one, expected] of [
    ['another verb', request('secrets', 'one', 'a', 'list'), 'dcred: list secrets in a, name one'],
    ['another name', request('secrets', 'two'), 'dcred: get secrets in a, name two'],
    ['another namespace', request('secrets', 'one', 'b'), 'dcred: get secrets in b, name one'],
    ['another resource', request('pods', 'one'), 'dcred: get pods in a, name one'],
  ] as const) {
    test(`names a request for ${what} that nothing grants`, () => {
      assert.deepEqual(compare(one).ungranted, [expected]);
    });
  }
});
