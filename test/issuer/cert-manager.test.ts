/** The issuer against a real API server with cert-manager's own CRDs. Requests are made and approved by the test. */

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { IssuerController } from '../../src/issuer/controller.ts';
import { KeyOpener } from '../../src/keys/key-opener.ts';
import { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { systemClock } from '../../src/kubernetes/clock.ts';
import { loadConnection } from '../../src/kubernetes/connection/load-connection.ts';
import type { Condition } from '../../src/kubernetes/objects.ts';
import { certificateRequest, requestKeyFromPem } from '../../src/provision/certificate-request.ts';
import { findCertManagerCrds } from '../../testing/certmanager/cert-manager.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { authority, leaf } from '../../testing/support/openssl.ts';
import { eventually } from '../../testing/support/processes.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';

const found = await findCertManagerCrds();
const skip = found.available || process.env['CI'] === 'true' ? false : found.reason;

const NOW = new Date().toISOString().replace(/\.\d+/, '');

interface Request {
  readonly status?: {
    readonly conditions?: readonly Condition[];
    readonly certificate?: string;
    readonly ca?: string;
    readonly failureTime?: string;
  };
}

describe('an issuer for cert-manager', { skip }, () => {
  let plane: ControlPlane;
  let client: ApiClient;
  let running: Promise<void>;
  const stop = new AbortController();
  const ca = authority('/CN=web CA');

  before(async () => {
    assert.ok(found.available, 'cert-manager');
    plane = await startControlPlane();
    await plane.kubectl(['apply', '--server-side', '-f', 'crds', '-f', found.folder]);
    await plane.kubectl(['wait', '--for=condition=Established', 'crd', '--all', '--timeout=60s']);
    for (const namespace of ['edge', 'issuers']) await plane.kubectl(['create', 'namespace', namespace]);
    await apply(
      secret('edge', 'web-ca', ca),
      secret('issuers', 'cluster-ca', ca),
      issuer('DelegationIssuer', 'web', { ca: { secretName: 'web-ca' }, dnsNames: ['web.example', '*.web.example'] }),
      issuer('ClusterDelegationIssuer', 'shared', { ca: { secretName: 'cluster-ca' }, maxDurationSeconds: 3_600 }),
    );
    const shared = { clock: systemClock, random: Math.random, log: recordingLogger() };
    const connection = await loadConnection({ kubeconfig: plane.kubeconfig, env: {} });
    client = new ApiClient(connection, { ...shared, userAgent: 'test', fieldManager: 'dcred-issuer' });
    const keys = new KeyOpener({ env: {}, clock: systemClock });
    const controller = new IssuerController({ ...shared, client, keys, caKeys: new Map(), namespace: 'issuers' });
    running = controller.run(stop.signal);
    await controller.synced;
  });
  after(async () => {
    stop.abort();
    await running;
    await client?.close();
    await plane?.stop();
  });

  const secret = (
    namespace: string,
    name: string,
    { certificatePem, keyPem }: { certificatePem: string; keyPem: string },
  ) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { namespace, name },
    stringData: { 'tls.crt': certificatePem, 'tls.key': keyPem },
  });
  const issuer = (kind: string, name: string, spec: object) => ({
    apiVersion: 'dcred.dev/v1alpha1',
    kind,
    metadata: { name, ...(kind === 'DelegationIssuer' ? { namespace: 'edge' } : {}) },
    spec,
  });

  async function apply(...objects: readonly object[]): Promise<void> {
    const list = { apiVersion: 'v1', kind: 'List', items: objects };
    await plane.kubectl(['apply', '-f', '-'], { input: JSON.stringify(list) });
  }

  const get = async <T>(...words: readonly string[]): Promise<T> =>
    JSON.parse((await plane.kubectl(['get', '-n', 'edge', '-o', 'json', ...words])).stdout) as T;

  /** A request as any client of cert-manager's API makes it. */
  async function request(
    name: string,
    change: object = {},
    dnsNames: readonly string[] = ['web.example'],
    verdict: 'Approved' | 'Denied' | 'Waiting' = 'Approved',
  ): Promise<void> {
    const key = requestKeyFromPem(leaf().keyPem);
    const pem = await certificateRequest({ key, dnsNames, usage: 'Server', signal: stop.signal });
    const issuerRef = { group: 'dcred.dev', kind: 'DelegationIssuer', name: 'web' };
    const spec = { request: Buffer.from(pem).toString('base64'), issuerRef, usages: ['server auth'], ...change };
    await apply({
      apiVersion: 'cert-manager.io/v1',
      kind: 'CertificateRequest',
      metadata: { namespace: 'edge', name },
      spec,
    });
    if (verdict === 'Waiting') return;
    const condition = {
      type: verdict,
      status: 'True',
      reason: 'test',
      message: 'by the test',
      lastTransitionTime: NOW,
    };
    const patch = JSON.stringify({ status: { conditions: [condition] } });
    const words = [
      'patch',
      '-n',
      'edge',
      'certificaterequest',
      name,
      '--subresource=status',
      '--type=merge',
      '-p',
      patch,
    ];
    await plane.kubectl(words);
  }

  const untilReason = (name: string, reason: string) =>
    eventually(`the request ${name} to be ${reason}`, async () => {
      const { status } = await get<Request>('certificaterequest', name);
      const ready = status?.conditions?.find(({ type }) => type === 'Ready');
      return ready?.reason === reason ? { ...status, message: ready.message } : undefined;
    });

  test('a request of its own is signed, with the CA beside it', async () => {
    await request('plain');
    const { ca: root = '', certificate = '' } = await untilReason('plain', 'Issued');
    const made = readDelegationCertificate(Buffer.from(certificate, 'base64').toString());
    assert.deepEqual(made.dnsNames, ['web.example']);
    const trusted = new X509Certificate(Buffer.from(root, 'base64'));
    assert.ok(new X509Certificate(made.der).verify(trusted.publicKey));
  });

  test('a request that is never signed fails once, with its time', async () => {
    await request('name', {}, ['evil.example']);
    const failed = await untilReason('name', 'Failed');
    assert.match(failed.message, /does not sign the name "evil\.example"/);
    assert.ok(failed.failureTime);
    assert.equal(failed.certificate, undefined);
    await request('authority', { isCA: true });
    assert.match((await untilReason('authority', 'Failed')).message, /isCA/);
    await request('garbage', { request: Buffer.from('no request').toString('base64') });
    assert.match((await untilReason('garbage', 'Failed')).message, /expected one CERTIFICATE REQUEST/);
  });
});
