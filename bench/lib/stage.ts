/** A namespace with a certificate and pods: the same start for every contender of a run. */
import { type Cluster, startCluster } from '../../testing/cluster/cluster.ts';
import { createTestAuthority, type TestAuthority } from '../../testing/support/certificates.ts';
import { eventually } from '../../testing/support/processes.ts';
import { HttpApi } from './http-api.ts';

export const CONNECTIONS = 32;
const RESOURCE = 'web';
/** A few rounds of 10,000 pods write gigabytes before the API server compacts; with the tests' quota, etcd would then refuse every write. */
const ETCD_QUOTA_BYTES = 8 * 1024 ** 3;

export class Stage implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly api: HttpApi;
  readonly namespace: string;
  readonly #authority: TestAuthority;

  private constructor(cluster: Cluster, api: HttpApi, namespace: string, authority: TestAuthority) {
    this.cluster = cluster;
    this.api = api;
    this.namespace = namespace;
    this.#authority = authority;
  }

  static async build(): Promise<Stage> {
    const cluster = await startCluster({ etcdQuotaBytes: ETCD_QUOTA_BYTES });
    const api = await HttpApi.connect(cluster.plane.kubeconfig, CONNECTIONS);
    const stage = new Stage(cluster, api, await cluster.namespace(), await createTestAuthority());
    await stage.putCertificate();
    return stage;
  }

  /** The same in another namespace of this cluster. It lasts as long as this stage, which owns the cluster. */
  async another(): Promise<Stage> {
    const stage = new Stage(this.cluster, this.api, await this.cluster.namespace(), this.#authority);
    await stage.putCertificate();
    return stage;
  }

  get secrets(): string {
    return `/api/v1/namespaces/${this.namespace}/secrets`;
  }

  /** A new leaf each time. */
  async putCertificate(): Promise<void> {
    await this.cluster.putCertificate(this.namespace, 'web-tls', await this.#authority.issue());
  }

  async deleteCertificate(): Promise<void> {
    await this.api.send('DELETE', `${this.secrets}/web-tls`);
  }

  async createPods(from: number, to: number): Promise<void> {
    await this.api.times(to - from, (number) => this.createPod(from + number));
  }

  async createPod(number: number): Promise<void> {
    const metadata = { name: `web-${number}`, labels: { app: 'web' } };
    const spec = { automountServiceAccountToken: false, containers: [{ name: 'main', image: 'localhost/none' }] };
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata, spec };
    await this.api.send('POST', `/api/v1/namespaces/${this.namespace}/pods`, JSON.stringify(pod));
  }

  async createResource(): Promise<void> {
    const spec = { certificateRef: { name: 'web-tls' }, podSelector: { matchLabels: { app: 'web' } } };
    await this.cluster.createResource(this.namespace, RESOURCE, spec);
  }

  async deleteResource(): Promise<void> {
    const path = `/apis/dcred.dev/v1alpha1/namespaces/${this.namespace}/delegatedcredentials/${RESOURCE}`;
    await this.api.send('DELETE', path);
  }

  /** Until only the certificate is left. */
  async deleteIssuedSecrets(): Promise<void> {
    await this.api.send('DELETE', `${this.secrets}?labelSelector=dcred.dev/delegated-credential`);
    await eventually('the Secrets to be gone', async () =>
      (await this.api.read(`${this.secrets}?limit=1&labelSelector=dcred.dev/delegated-credential`)).includes(
        '"items":[]',
      )
        ? true
        : undefined,
    );
  }

  /** The API server and its etcd. */
  get serverPids(): readonly number[] {
    const { pids } = this.cluster.plane;
    return [pids['kube-apiserver'] ?? 0, pids.etcd ?? 0];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.api.close();
    await this.cluster[Symbol.asyncDispose]();
  }
}
