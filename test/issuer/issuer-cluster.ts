/** A control plane with the chart's issuer and cert-manager's own CRDs; `dcred issuer` runs with the permissions that the chart gives it. */
import assert from 'node:assert/strict';
import { issuerCommand } from '../../src/cli/services/issuer.ts';
import type { Condition } from '../../src/kubernetes/objects.ts';
import { certificateRequest, requestKeyFromPem } from '../../src/provision/certificate-request.ts';
import type { CertManagerCrds } from '../../testing/certmanager/cert-manager.ts';
import { type Cluster, type ClusterOptions, startCluster } from '../../testing/cluster/cluster.ts';
import { authority, type Leaf, leaf } from '../../testing/support/openssl.ts';
import { freePort } from '../../testing/support/ports.ts';
import { eventually } from '../../testing/support/processes.ts';
import { runCommand } from '../cli/run-command.ts';

export const SYSTEM = 'dcred-system';
export const EDGE = 'edge';
export const ACCOUNT = `system:serviceaccount:${SYSTEM}:dcred-issuer`;

/** The Secrets of CAs that the chart lets the issuer read. */
const AUTHORITIES = [
  { namespace: EDGE, names: ['web-ca', 'late-ca'] },
  { namespace: SYSTEM, names: ['cluster-ca'] },
];
const NOW = new Date().toISOString().replace(/\.\d+/, '');

interface Request {
  readonly status?: {
    readonly conditions?: readonly Condition[];
    readonly certificate?: string;
    readonly ca?: string;
    readonly failureTime?: string;
  };
}

/** One replica. */
export interface Issuer {
  metrics(): Promise<string>;
  stop(): Promise<void>;
}

type Verdict = 'Approved' | 'Denied';

export class IssuerCluster implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly root = authority('/CN=web root');
  /** Below the root, as most issuing CAs are. */
  readonly ca = intermediate(this.root);
  readonly #kubeconfig: string;

  private constructor(cluster: Cluster, kubeconfig: string) {
    this.cluster = cluster;
    this.#kubeconfig = kubeconfig;
  }

  static async start(crds: CertManagerCrds, options: ClusterOptions = {}): Promise<IssuerCluster> {
    assert.ok(crds.available, crds.available ? '' : crds.reason);
    const values = `issuer.authorities=${JSON.stringify(AUTHORITIES)}`;
    const cluster = await startCluster({
      ...options,
      namespaces: [EDGE],
      helm: ['--set', 'issuer.enabled=true', '--set-json', values],
    });
    const { plane } = cluster;
    await plane.kubectl(['apply', '--server-side', '-f', crds.folder]);
    await plane.untilServed();
    const identity = { serviceAccount: { namespace: SYSTEM, name: 'dcred-issuer' } };
    const one = new IssuerCluster(cluster, await plane.kubeconfigFor(identity));
    await one.apply(
      one.secret(EDGE, 'web-ca'),
      one.secret(SYSTEM, 'cluster-ca'),
      issuer('DelegationIssuer', 'web', { ca: { secretName: 'web-ca' }, dnsNames: ['web.example', '*.web.example'] }),
      issuer('ClusterDelegationIssuer', 'shared', { ca: { secretName: 'cluster-ca' }, maxDurationSeconds: 3_600 }),
    );
    return one;
  }

  async startIssuer(name: string, more: Readonly<Record<string, string>> = {}): Promise<Issuer> {
    const stop = new AbortController();
    const [metrics, health] = [await freePort(), await freePort()];
    const argv = ['--kubeconfig', this.#kubeconfig];
    argv.push('--metrics-bind-address', `127.0.0.1:${metrics}`, '--health-probe-bind-address', `127.0.0.1:${health}`);
    const env = { POD_NAMESPACE: SYSTEM, POD_NAME: name, ...more };
    const running = runCommand(issuerCommand, argv, { signal: stop.signal, env });
    const get = async (port: number, path: string) => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`).catch(() => undefined);
      return response?.ok === true ? await response.text() : undefined;
    };
    await Promise.race([eventually(`${name} to be ready`, () => get(health, '/readyz')), running]);
    return {
      metrics: async () => (await get(metrics, '/metrics')) ?? '',
      stop: async () => {
        stop.abort();
        assert.equal((await running).status, 0);
      },
    };
  }

  /** A Secret with the CA. */
  secret(namespace: string, name: string): object {
    const stringData = { 'tls.crt': this.ca.certificatePem + this.root.certificatePem, 'tls.key': this.ca.keyPem };
    return { apiVersion: 'v1', kind: 'Secret', metadata: { namespace, name }, stringData };
  }

  async apply(...objects: readonly object[]): Promise<void> {
    const list = { apiVersion: 'v1', kind: 'List', items: objects };
    await this.cluster.plane.kubectl(['apply', '--validate=strict', '-f', '-'], { input: JSON.stringify(list) });
  }

  async get<T = Request>(...words: readonly string[]): Promise<T> {
    const { stdout } = await this.cluster.plane.kubectl(['get', '-n', EDGE, '-o', 'json', ...words]);
    return JSON.parse(stdout) as T;
  }

  /** As any client of cert-manager's API makes one. */
  async request(name: string, change: object = {}, dnsNames: readonly string[] = ['web.example']): Promise<void> {
    const key = requestKeyFromPem(leaf().keyPem);
    const pem = await certificateRequest({ key, dnsNames, usage: 'Server', signal: this.cluster.signal });
    const issuerRef = { group: 'dcred.dev', kind: 'DelegationIssuer', name: 'web' };
    const spec = { request: Buffer.from(pem).toString('base64'), issuerRef, usages: ['server auth'], ...change };
    const metadata = { namespace: EDGE, name };
    await this.apply({ apiVersion: 'cert-manager.io/v1', kind: 'CertificateRequest', metadata, spec });
  }

  /** What an approver writes. */
  async judge(name: string, type: Verdict): Promise<void> {
    const condition = { type, status: 'True', reason: 'test', message: 'by the test', lastTransitionTime: NOW };
    await this.patchStatus('certificaterequest', name, { conditions: [condition] });
  }

  async patchStatus(kind: string, name: string, status: object): Promise<void> {
    const words = ['patch', '-n', EDGE, kind, name, '--subresource=status', '--type=merge'];
    await this.cluster.plane.kubectl([...words, '-p', JSON.stringify({ status })]);
  }

  async approved(name: string, change: object = {}, dnsNames?: readonly string[]): Promise<void> {
    await this.request(name, change, dnsNames);
    await this.judge(name, 'Approved');
  }

  untilReason(name: string, reason: string): Promise<NonNullable<Request['status']> & { readonly message: string }> {
    return eventually(`the request ${name} to be ${reason}`, async () => {
      const { status } = await this.get('certificaterequest', name);
      const ready = status?.conditions?.find(({ type }) => type === 'Ready');
      return ready?.reason === reason ? { ...status, message: ready.message } : undefined;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cluster[Symbol.asyncDispose]();
  }
}

function intermediate(issuer: Leaf): Leaf {
  const kind = { basicConstraints: 'critical,CA:TRUE', delegationUsage: null, keyUsage: 'critical,keyCertSign' };
  return leaf({ ...kind, issuer, subject: '/CN=web CA' });
}

export function issuer(kind: 'DelegationIssuer' | 'ClusterDelegationIssuer', name: string, spec: object): object {
  const metadata = { name, ...(kind === 'DelegationIssuer' ? { namespace: EDGE } : {}) };
  return { apiVersion: 'dcred.dev/v1alpha1', kind, metadata, spec };
}
