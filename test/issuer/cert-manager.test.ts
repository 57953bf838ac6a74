/**
 * The issuer as the chart runs it, on a real API server with cert-manager's own CRDs. Requests are made and approved by the test: see
 * cert-manager-controllers.test.ts for cert-manager's own controllers.
 */

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import type { Finding } from '../../src/check/finding.ts';
import { checkCommand } from '../../src/cli/cluster/check.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { readPem } from '../../src/credential/pem.ts';
import { findCertManagerCrds } from '../../testing/certmanager/cert-manager.ts';
import { AUDITED_ACCESS, compareAccess, grants, type RbacObject, uses } from '../../testing/cluster/access.ts';
import { findTraceReceiver, type TraceReceiver } from '../../testing/otlp/receiver.ts';
import { eventually } from '../../testing/support/processes.ts';
import { allowed } from '../chart/access.ts';
import { type Attempt, type Attempts, create, merge, remove } from '../chart/attacks/attempt.ts';
import { RawClient } from '../chart/raw-client.ts';
import { runCommand } from '../cli/run-command.ts';
import { ACCOUNT, EDGE, type Issuer, IssuerCluster, issuer, SYSTEM } from './issuer-cluster.ts';

const crds = await findCertManagerCrds();
const receivers = await findTraceReceiver();
const skip = crds.available || process.env['CI'] === 'true' ? false : crds.reason;

/** A figure follows the status that it goes with. */
async function measured(issuer: Issuer, figure: RegExp): Promise<void> {
  await eventually(`the figure ${figure}`, async () => figure.test(await issuer.metrics()) || undefined);
}

describe('an issuer for cert-manager', { skip }, () => {
  let one: IssuerCluster;
  let running: Issuer;
  let traces: TraceReceiver | undefined;

  before(async () => {
    // Without streamed lists, which an API server before Kubernetes 1.34 does not have: then caches are filled by a list.
    one = await IssuerCluster.start(crds, { audit: AUDITED_ACCESS, featureGates: { WatchList: false } });
    traces = receivers.available ? await receivers.start() : undefined;
    // The exporter reads the process's own environment.
    if (traces !== undefined) process.env['OTEL_EXPORTER_OTLP_ENDPOINT'] = traces.endpoint;
    const endpoint = traces === undefined ? {} : { OTEL_EXPORTER_OTLP_ENDPOINT: traces.endpoint };
    running = await one.startIssuer('dcred-issuer-0', { ...endpoint, OTEL_BSP_SCHEDULE_DELAY: '200' });
  });
  after(async () => {
    await running?.stop();
    await one?.[Symbol.asyncDispose]();
    delete process.env['OTEL_EXPORTER_OTLP_ENDPOINT'];
    await traces?.[Symbol.asyncDispose]();
  });

  test('a request for a dcred issuer is signed: the leaf, its chain, and the root beside it', async () => {
    await one.approved('plain');
    const { ca = '', certificate = '' } = await one.untilReason('plain', 'Issued');
    const text = Buffer.from(certificate, 'base64').toString();
    assert.deepEqual(readDelegationCertificate(text).dnsNames, ['web.example']);
    const [leaf, between, ...rest] = readPem(text).map(({ der }) => new X509Certificate(der));
    const root = new X509Certificate(Buffer.from(ca, 'base64'));
    assert.ok(leaf !== undefined && between !== undefined && rest.length === 0);
    assert.ok(leaf.verify(between.publicKey) && between.verify(root.publicKey));
    assert.equal(root.subject, 'CN=web root');
  });

  const noReceiver = !receivers.available && process.env['CI'] !== 'true' && receivers.reason;
  test('its trace has the signature and the answer, and nothing of the CA', { skip: noReceiver }, async () => {
    assert.ok(traces !== undefined);
    const receiver = traces;
    await one.approved('traced');
    await one.untilReason('traced', 'Issued');
    const answer = 'patch certificaterequests/status';
    const spans = await eventually('the trace of a signature', async () => {
      const all = await receiver.spans();
      const signed = all.find(({ name }) => name === 'sign certificate');
      const trace = all.filter(({ traceId }) => traceId === signed?.traceId);
      return trace.some(({ name }) => name === answer) && trace.some(({ parentSpanId }) => parentSpanId === undefined)
        ? trace
        : undefined;
    });
    const root = spans.find(({ parentSpanId }) => parentSpanId === undefined);
    assert.equal(root?.name, 'reconcile issuer');
    assert.equal(root.resource['service.name'], 'dcred-issuer');
    const children = spans.filter(({ parentSpanId }) => parentSpanId === root.spanId).map(({ name }) => name);
    assert.deepEqual(children, ['get secrets', 'sign certificate', answer]);
    const text = await receiver.text();
    for (const line of one.ca.keyPem.trim().split('\n')) assert.ok(!text.includes(line), 'a trace holds no key');
  });

  test('a request that is never signed fails once, with its time', async () => {
    await one.approved('name', {}, ['evil.example']);
    const failed = await one.untilReason('name', 'Failed');
    assert.match(failed.message, /do not allow the name "evil\.example"/);
    assert.ok(failed.failureTime);
    assert.equal(failed.certificate, undefined);
    await one.approved('authority', { isCA: true });
    assert.match((await one.untilReason('authority', 'Failed')).message, /isCA/);
    await one.approved('garbage', { request: Buffer.from('no request').toString('base64') });
    assert.match((await one.untilReason('garbage', 'Failed')).message, /expected one CERTIFICATE REQUEST/);
  });

  test('a request waits for an issuer that is not there yet, and for its CA', async () => {
    await one.approved('early', { issuerRef: { group: 'dcred.dev', kind: 'DelegationIssuer', name: 'late' } });
    assert.match((await one.untilReason('early', 'Pending')).message, /"late" does not exist/);
    await one.apply(issuer('DelegationIssuer', 'late', { ca: { secretName: 'late-ca' } }));
    await eventually('the issuer to say what is missing', async () => {
      const { status } = await one.get('delegationissuer', 'late');
      return status?.conditions?.[0]?.reason === 'SecretNotFound' || undefined;
    });
    await measured(running, /dcred_issuer_ca_usable\{kind="DelegationIssuer",.*name="late"\} 0/);
    await one.apply(one.secret(EDGE, 'late-ca'));
    await one.untilReason('early', 'Issued');
  });

  test('a request is signed when it is approved and not before, and never when it is denied', async () => {
    await one.request('later');
    await one.request('denied');
    await one.judge('denied', 'Denied');
    const denied = await one.untilReason('denied', 'Denied');
    assert.ok(denied.failureTime);
    assert.equal(denied.certificate, undefined);
    assert.equal((await one.get('certificaterequest', 'later')).status?.certificate, undefined);
    await one.judge('later', 'Approved');
    const { conditions } = await one.untilReason('later', 'Issued');
    assert.deepEqual(
      conditions?.map(({ type }) => type),
      ['Approved', 'Ready'],
      "the approver's condition stays",
    );
  });

  test('a request for a cluster-wide issuer gets its cap, and one for a namespaced issuer of that name gets nothing', async () => {
    const reference = (kind: string) => ({ issuerRef: { group: 'dcred.dev', kind, name: 'shared' }, duration: '24h' });
    await one.approved('shared', reference('ClusterDelegationIssuer'));
    const { certificate = '' } = await one.untilReason('shared', 'Issued');
    const { notAfter, notBefore } = readDelegationCertificate(Buffer.from(certificate, 'base64').toString());
    assert.ok(notAfter - notBefore <= 3_600 + 300);
    await one.approved('confused', reference('DelegationIssuer'));
    await one.untilReason('confused', 'Pending');
  });

  test('a namespaced issuer cannot name a key of the configuration', async () => {
    const wrong = issuer('DelegationIssuer', 'thief', { ca: { secretName: 'web-ca', keyName: 'edge' } });
    await assert.rejects(one.apply(wrong), /unknown field/);
  });

  test('one replica leads; another one signs once the first has stopped', async () => {
    const leads = (yes: 0 | 1) => new RegExp(`leader_election_master_status\\{name="dcred-issuer"\\} ${yes}`);
    const second = await one.startIssuer('dcred-issuer-1');
    await measured(running, leads(1));
    await measured(second, leads(0));
    await running.stop();
    running = second;
    await one.approved('handed-over');
    await one.untilReason('handed-over', 'Issued');
    await measured(second, leads(1));
    await measured(second, /dcred_issuer_requests_total\{result="Issued"\} [1-9]/);
    await measured(second, /dcred_issuer_ca_usable\{kind="ClusterDelegationIssuer",namespace="",name="shared"\} 1/);
    await measured(second, /workqueue_adds_total\{name="issuer"\} [1-9]/);
  });

  test('the chart grants it what it requests, no more and no less', async () => {
    const { plane } = one.cluster;
    const kinds = 'roles,rolebindings,clusterroles,clusterrolebindings';
    const { stdout } = await plane.kubectl(['get', kinds, '-A', '-l', 'app.kubernetes.io/part-of=dcred', '-o', 'json']);
    const { items } = JSON.parse(stdout) as { readonly items: readonly RbacObject[] };
    const granted = grants(items).filter(({ user }) => user === ACCOUNT);
    assert.ok(granted.length > 0);
    const report = async () => compareAccess(granted, uses(await plane.auditLog()));
    // The lease is renewed in its own time.
    await eventually(
      'every permission to be used',
      async () => (await report()).unused.length === 0 || undefined,
    ).catch(() => undefined);
    assert.deepEqual(await report(), { ungranted: [], unused: [] });
  });

  test("cert-manager's approver may approve requests for dcred's issuers, and no other", async () => {
    const user = 'system:serviceaccount:cert-manager:cert-manager';
    const names = [
      'delegationissuers.dcred.dev/*',
      'clusterdelegationissuers.dcred.dev/*',
      'issuers.cert-manager.io/*',
    ];
    const may = names.map((name) =>
      allowed(one.cluster.plane, { user }, [{ verb: 'approve', resource: 'signers.cert-manager.io', name }]),
    );
    assert.deepEqual(
      (await Promise.all(may)).map(({ size }) => size),
      [1, 1, 0],
    );
  });

  describe('dcred check', () => {
    const check = async () => {
      const { stdout } = await runCommand(checkCommand, ['-n', EDGE, '-o', 'json', '--kubeconfig', kubeconfig()]);
      const findings = JSON.parse(stdout) as readonly Finding[];
      return (name: string) => findings.filter((finding) => finding.check === name);
    };
    const kubeconfig = () => one.cluster.plane.kubeconfig;
    const levels = (findings: readonly Finding[]) => findings.map(({ level }) => level);

    test('finds cert-manager, who leads, what the issuer may do, and CAs that can sign', async () => {
      const of = await check();
      assert.deepEqual(levels(of('CertManager')), ['ok']);
      assert.deepEqual(levels(of('IssuerPermissions')), ['ok', 'ok']);
      assert.match(JSON.stringify(of('Leader')), /"dcred-issuer-\d_\S+ leads/);
      assert.equal(of('CustomResourceDefinition').filter(({ level }) => level === 'ok').length, 4);
      const ca = of('DelegationIssuer').filter(({ message }) => / (?:edge\/web|shared): /.test(message));
      assert.deepEqual(ca.map(({ message }) => message).sort(), [
        'ClusterDelegationIssuer shared: the CA can sign',
        `DelegationIssuer ${EDGE}/web: the CA can sign`,
      ]);
    });

    test('says what each CA that cannot sign needs', async () => {
      const spec = (secretName: string) => ({ ca: { secretName } });
      await one.apply(
        one.secret(EDGE, 'unlisted'),
        {
          apiVersion: 'v1',
          kind: 'Secret',
          metadata: { namespace: EDGE, name: 'late-ca' },
          stringData: { 'tls.crt': 'x' },
        },
        issuer('DelegationIssuer', 'check-unlisted', spec('unlisted')),
        issuer('DelegationIssuer', 'check-invalid', spec('late-ca')),
        issuer('ClusterDelegationIssuer', 'check-key', { ca: { secretName: 'cluster-ca', keyName: 'hsm' } }),
      );
      const found = await eventually('the reports of the issuer', async () => {
        const findings = (await check())('DelegationIssuer').filter(({ message }) => message.includes('check-'));
        return findings.every(({ level }) => level === 'problem') ? findings : undefined;
      });
      const remedies = Object.fromEntries(
        found.map(({ message, remedy }) => [/check-[a-z]+: [A-Za-z]+/.exec(message)?.[0], remedy]),
      );
      assert.deepEqual(remedies, {
        'check-unlisted: SecretNotFound':
          'list the Secret in issuer.authorities of the chart: {namespace: edge, names: [unlisted]}',
        'check-invalid: AuthorityInvalid':
          'correct the CA in the Secret: its certificate and chain in tls.crt, its key in tls.key',
        'check-key: KeyNotConfigured': 'list the key in issuer.caKeys of the chart',
      });
    });

    test('says whether cert-manager approves requests, by the account that its controller runs as', async () => {
      assert.match((await check())('Approval')[0]?.message ?? '', /^no Deployment has the labels/);
      const deployment = (serviceAccountName: string) => {
        const labels = { 'app.kubernetes.io/name': 'cert-manager', 'app.kubernetes.io/component': 'controller' };
        const containers = [{ name: 'main', image: 'registry.invalid/cert-manager' }];
        const template = { metadata: { labels }, spec: { serviceAccountName, containers } };
        const metadata = { namespace: 'cert-manager', name: 'cert-manager', labels };
        return {
          apiVersion: 'apps/v1',
          kind: 'Deployment',
          metadata,
          spec: { selector: { matchLabels: labels }, template },
        };
      };
      await one.apply(
        { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'cert-manager' } },
        deployment('cert-manager'),
      );
      assert.deepEqual(levels((await check())('Approval')), ['ok']);
      await one.apply(deployment('other'));
      const [refused] = (await check())('Approval');
      assert.equal(refused?.level, 'warning');
      assert.match(
        refused?.message ?? '',
        /cert-manager\/other may not approve requests for delegationissuers\.dcred\.dev\/\*, /,
      );
      await one.cluster.plane.kubectl(['delete', 'namespace', 'cert-manager', '--wait=false']);
    });

    test('says what the account of the issuer may not do', async () => {
      const role = ['clusterrolebinding', 'dcred-system:dcred-issuer'];
      const { stdout: saved } = await one.cluster.plane.kubectl(['get', ...role, '-o', 'json']);
      await one.cluster.plane.kubectl(['delete', ...role]);
      try {
        const refused = await eventually('RBAC to know it', async () =>
          (await check())('IssuerPermissions').find(({ level }) => level === 'problem'),
        );
        assert.match(refused.message, /may not list certificaterequests\.cert-manager\.io, watch /);
      } finally {
        await one.cluster.plane.kubectl(['create', '-f', '-'], { input: saved });
      }
    });
  });

  test('a stolen token of it approves nothing, answers only requests for dcred.dev, and writes nothing else', async () => {
    const { plane } = one.cluster;
    const requests = `/apis/cert-manager.io/v1/namespaces/${EDGE}/certificaterequests`;
    await one.request('target');
    await one.request('foreign', { issuerRef: { group: 'other.example', kind: 'Issuer', name: 'web' } });
    const condition = (type: string) => ({ type, status: 'True', reason: 'x', message: 'x', lastTransitionTime: now });
    const now = '2027-01-15T08:00:00Z';
    const answer = { certificate: 'eA==', conditions: [condition('Ready')] };
    const denied: Attempts = {
      'approve a request': merge(`${requests}/target/status`, { status: { conditions: [condition('Approved')] } }),
      'approve and answer one': merge(`${requests}/target/status`, {
        status: { ...answer, conditions: [condition('Ready'), condition('Approved')] },
      }),
      'answer a request for another issuer': merge(`${requests}/foreign/status`, { status: answer }),
      'change what is requested': merge(`${requests}/target`, { metadata: { labels: { a: 'b' } } }),
      'delete a request': remove(`${requests}/target`),
      'write a Secret': create(`/api/v1/namespaces/${EDGE}/secrets`, { metadata: { name: 'x' } }),
      'change an issuer': merge(`/apis/dcred.dev/v1alpha1/namespaces/${EDGE}/delegationissuers/web`, {
        spec: { maxDurationSeconds: 7_200 },
      }),
      "take the operator's lease": create(`/apis/coordination.k8s.io/v1/namespaces/${SYSTEM}/leases`, {
        metadata: { name: 'dcred-operator' },
      }),
    };
    const [, , namespace = '', name = ''] = ACCOUNT.split(':');
    const client = new RawClient(plane.url, plane.certificateAuthority, await plane.tokenFor({ namespace, name }));
    // RBAC denies nothing any more: the policies are all that is left.
    const excess = ['create', 'clusterrolebinding', 'test-excess', '--clusterrole=cluster-admin'];
    await plane.kubectl([...excess, `--serviceaccount=${namespace}:${name}`]);
    const attempt = ({ body, contentType, method, path }: Attempt) =>
      client.request(method, path, { dryRun: true, body, contentType });
    for (const [what, one] of Object.entries(denied)) {
      // Policy and binding reach the API server's memory by a watch.
      await eventually(`the policy to deny to ${what}`, async () => {
        const { message } = await attempt(one);
        return /ValidatingAdmissionPolicy '[a-z-]+\.dcred-system' .* denied request/.test(message) || undefined;
      });
    }
    const { message, status } = await attempt(merge(`${requests}/target/status`, { status: answer }));
    assert.equal(status, 200, message);
  });
});
