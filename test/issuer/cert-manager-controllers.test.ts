/**
 * A Certificate, from cert-manager's own controllers to the pods: the issuer signs what they request, they write the Secret, the operator
 * issues credentials under it, and follows when they renew it. Opt-in (DCRED_CERT_MANAGER=1) until they have been built once, which takes
 * three minutes of CPU.
 */
import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { type DelegationCertificate, readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { readPem } from '../../src/credential/pem.ts';
import { type CertManager, findCertManager, findCertManagerCrds } from '../../testing/certmanager/cert-manager.ts';
import type { Secret } from '../../testing/cluster/cluster.ts';
import { type OperatorProcess, startOperator } from '../../testing/cluster/operator-process.ts';
import { eventually } from '../../testing/support/processes.ts';
import { assertServes } from '../cluster/verification.ts';
import { EDGE, type Issuer, IssuerCluster } from './issuer-cluster.ts';

const found = await findCertManager();
const skip = found.available ? false : found.reason;

interface Certificate {
  readonly status?: {
    readonly revision?: number;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

describe("cert-manager's own controllers", { skip }, () => {
  let one: IssuerCluster;
  let issuer: Issuer;
  let operator: OperatorProcess;
  let certManager: CertManager;

  before(async () => {
    assert.ok(found.available);
    one = await IssuerCluster.start(await findCertManagerCrds());
    issuer = await one.startIssuer('dcred-issuer-0');
    operator = await startOperator({ kubeconfig: one.cluster.operatorKubeconfig });
    certManager = await found.start(one.cluster.plane.kubeconfig);
  });
  after(async () => {
    await certManager?.[Symbol.asyncDispose]();
    await operator?.stop();
    await issuer?.stop();
    await one?.[Symbol.asyncDispose]();
  });

  const certificate = (name: string, spec: object = {}) =>
    one.apply({
      apiVersion: 'cert-manager.io/v1',
      kind: 'Certificate',
      metadata: { namespace: EDGE, name },
      spec: {
        secretName: `${name}-tls`,
        dnsNames: ['web.example', '*.web.example'],
        privateKey: { algorithm: 'ECDSA', size: 256, rotationPolicy: 'Always' },
        issuerRef: { group: 'dcred.dev', kind: 'DelegationIssuer', name: 'web' },
        ...spec,
      },
    });

  const dataOf = (secret: Secret | undefined, entry: string) =>
    Buffer.from(secret?.data?.[entry] ?? '', 'base64').toString();

  /** The leaf in the Secret that cert-manager wrote, once there is one that is not `before`. */
  const leafOf = async (name: string, before?: DelegationCertificate) => {
    const leafNow = async () => {
      const selector = `metadata.name=${name}-tls`;
      const { items } = await one.get<{ readonly items: readonly Secret[] }>('secrets', '--field-selector', selector);
      const [secret] = items;
      const text = dataOf(secret, 'tls.crt');
      const leaf = text === '' ? undefined : readDelegationCertificate(text);
      return leaf !== undefined && leaf.sha256 !== before?.sha256 ? { leaf, secret } : undefined;
    };
    return await eventually(`a new leaf of ${name}`, leafNow).catch(async (error: unknown) => {
      throw new Error(`${String(error)}\n${await certManager.logTail()}`);
    });
  };

  test('write the Secret of a Certificate: a leaf that can delegate, its chain, its key and the root', async () => {
    await certificate('web');
    const { leaf, secret } = await leafOf('web');
    assert.deepEqual(leaf.dnsNames, ['web.example', '*.web.example']);
    const [x509, between, ...rest] = readPem(dataOf(secret, 'tls.crt')).map(({ der }) => new X509Certificate(der));
    assert.ok(x509 !== undefined && between !== undefined && rest.length === 0, 'leaf and chain');
    assert.ok(x509.verify(between.publicKey));
    assert.ok(between.verify(new X509Certificate(dataOf(secret, 'ca.crt')).publicKey));
    assert.ok(x509.checkPrivateKey(createPrivateKey(dataOf(secret, 'tls.key'))));
    await eventually('the Certificate to be Ready', async () => {
      const { status } = await one.get<Certificate>('certificate', 'web');
      return status?.conditions?.some(({ status: is, type }) => type === 'Ready' && is === 'True') || undefined;
    });
  });

  test('renew it while pods are served: every pod gets a credential under the new leaf', async () => {
    const { cluster } = one;
    const { leaf: first } = await leafOf('web');
    await cluster.createResource(EDGE, 'web', {
      certificateRef: { name: 'web-tls' },
      podSelector: { matchLabels: { app: 'web' } },
    });
    await cluster.createPods(EDGE, 3, { labels: { app: 'web' } });
    const issuedUnder = async ({ sha256 }: DelegationCertificate) => {
      const secrets = await cluster.secrets(EDGE);
      const under = secrets.filter(({ metadata }) => metadata.annotations?.['dcred.dev/certificate-sha256'] === sha256);
      return under.length === 3 ? under : undefined;
    };
    const old = await eventually('three credentials', () => issuedUnder(first));
    for (const secret of old) assertServes(secret);

    // What "cmctl renew" writes.
    const { status } = await one.get<Certificate>('certificate', 'web');
    const lastTransitionTime = new Date().toISOString().replace(/\.\d+/, '');
    const renewal = { type: 'Issuing', status: 'True', reason: 'ManuallyTriggered', message: 'x', lastTransitionTime };
    await one.patchStatus('certificate', 'web', { conditions: [...(status?.conditions ?? []), renewal] });
    const { leaf: second } = await leafOf('web', first);
    assert.notDeepEqual(second.publicKey.export({ format: 'jwk' }), first.publicKey.export({ format: 'jwk' }));
    const renewed = await eventually('three credentials under the new leaf', () => issuedUnder(second));
    for (const secret of renewed) assertServes(secret);
    await cluster.untilReason(EDGE, 'web', 'Issued');
  });

  test('renew one by themselves when its time comes', async () => {
    // The shortest lifetime that the issuer signs, renewed a few seconds after it was signed.
    await certificate('short', { duration: '1h', renewBefore: '59m55s' });
    const { leaf: first } = await leafOf('short');
    const { leaf: second } = await leafOf('short', first);
    assert.ok(second.notAfter > first.notAfter);
  });
});
