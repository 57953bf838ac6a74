/**
 * What the suite stands on: one control plane with dcred's chart for many runs, and for each run its own namespace, proxies and
 * operators. Operators run in this process, with the permissions that the chart grants, and are killed at their proxy.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import type { Connection } from '../../src/kubernetes/connection/connection.ts';
import { loadConnection } from '../../src/kubernetes/connection/load-connection.ts';
import { Operator } from '../../src/operator/operator.ts';
import { OperatorMetrics } from '../../src/operator/reporting/metrics.ts';
import { type Cluster, startCluster } from '../../testing/cluster/cluster.ts';
import type { ControlPlaneOptions } from '../../testing/controlplane/options.ts';
import { createTestAuthority, type LeafFiles, type TestAuthority } from '../../testing/support/certificates.ts';
import { type RecordingLogger, recordingLogger } from '../../testing/support/recording-logger.ts';
import { Admin, type ApiObject, paths, readAccess } from './admin.ts';
import { fingerprint, type Observation, type Violation, violations } from './checker.ts';
import { createProxyTls, FaultProxy, type ProxyOptions, type ProxyTls } from './proxy.ts';
import { SteppedClock } from './stepped-clock.ts';
import { Witness } from './witness.ts';

const FIELD_MANAGER = 'dcred';
const OPERATOR_WORKERS = 4;

export class Ground implements AsyncDisposable {
  readonly cluster: Cluster;
  admin: Admin;
  readonly authority: TestAuthority;
  readonly tls: ProxyTls;
  readonly witness: Witness;

  constructor(cluster: Cluster, authority: TestAuthority, tls: ProxyTls) {
    this.cluster = cluster;
    this.authority = authority;
    this.tls = tls;
    const access = readAccess(cluster.plane.kubeconfig);
    this.admin = new Admin(access);
    this.witness = new Witness(access);
  }

  static async start(options: ControlPlaneOptions = {}): Promise<Ground> {
    const [cluster, authority, tls] = await Promise.all([
      startCluster(options),
      createTestAuthority(),
      createProxyTls(),
    ]);
    return new Ground(cluster, authority, tls);
  }

  /** For use after the API server has got another CA. */
  reconnect(): void {
    this.admin[Symbol.dispose]();
    this.admin = new Admin(readAccess(this.cluster.plane.kubeconfig));
  }

  async site(clock = new SteppedClock()): Promise<Site> {
    const namespace = `run-${randomUUID().slice(0, 8)}`;
    await this.admin.create('/api/v1/namespaces', { metadata: { name: namespace } });
    return new Site(this, namespace, clock);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.witness[Symbol.asyncDispose]();
    this.admin[Symbol.dispose]();
    await this.cluster[Symbol.asyncDispose]();
  }
}

export interface OperatorFaults extends Omit<ProxyOptions, 'plane' | 'tls'> {
  /** How long a call may take. Default: the client's own. */
  readonly timeoutMs?: number;
  /** Connects to the API server directly, as a pod does: past the proxy, so that the operator can be stopped but not killed. */
  readonly mountedAccount?: string;
}

export interface RunningOperator {
  readonly proxy: FaultProxy;
  readonly log: RecordingLogger;
  /** Like SIGKILL: nothing from it reaches the cluster any more. */
  kill(): void;
  /** Shuts it down cleanly. */
  stop(): Promise<void>;
  /** Resolves when nothing of it is left in this process. */
  readonly ended: Promise<unknown>;
}

/** One run's namespace. */
export class Site {
  readonly ground: Ground;
  readonly namespace: string;
  readonly clock: SteppedClock;
  readonly #foreign = new Map<string, string>();
  readonly #operators: RunningOperator[] = [];

  constructor(ground: Ground, namespace: string, clock: SteppedClock) {
    this.ground = ground;
    this.namespace = namespace;
    this.clock = clock;
  }

  get admin(): Admin {
    return this.ground.admin;
  }

  /** Every request of every operator of this run, in order. */
  get journal() {
    return this.#operators.flatMap(({ proxy }) => proxy.journal);
  }

  /** For how long no living operator of this run has sent a request, in milliseconds. */
  get quietMs(): number {
    const living = this.#operators.filter(({ proxy }) => !proxy.isDead);
    return Math.min(...living.map(({ proxy }) => proxy.quietMs), Number.POSITIVE_INFINITY);
  }

  async startOperator(options: OperatorFaults = {}): Promise<RunningOperator> {
    const { cluster, tls } = this.ground;
    const { clock } = this;
    const proxy = await FaultProxy.start({
      plane: cluster.plane,
      tls,
      dateOffsetMs: () => clock.offsetMs,
      ...options,
    });
    const log = recordingLogger();
    const client = await this.#client(proxy, options);
    const operator = new Operator({
      client,
      leaseName: 'dcred-operator',
      namespaces: [this.namespace],
      workers: OPERATOR_WORKERS,
      notifyPods: true,
      elector: undefined,
      metrics: new OperatorMetrics('test'),
      clock,
      random: Math.random,
      log,
      instance: 'faults',
      namespace: this.namespace,
    });
    const stopping = new AbortController();
    const run = operator.run(stopping.signal);
    const ended = (async () => {
      try {
        await run;
      } finally {
        await client.close();
        await proxy[Symbol.asyncDispose]();
      }
    })();
    const running: RunningOperator = {
      proxy,
      log,
      kill: () => {
        proxy.kill();
        stopping.abort();
        // Its calls fail at once, as those of a process that is gone.
        void client.close();
      },
      stop: async () => {
        stopping.abort();
        await ended;
      },
      ended,
    };
    this.#operators.push(running);
    return running;
  }

  async #client(proxy: FaultProxy, { mountedAccount, timeoutMs }: OperatorFaults): Promise<ApiClient> {
    const connection = mountedAccount === undefined ? await this.#proxied(proxy) : await this.#mounted(mountedAccount);
    const { clock } = this;
    return new ApiClient(connection, {
      userAgent: 'faults',
      fieldManager: FIELD_MANAGER,
      clock,
      random: Math.random,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
  }

  async #proxied({ url }: FaultProxy): Promise<Connection> {
    const { cluster, tls } = this.ground;
    const path = join(cluster.plane.directory, `${randomUUID()}.kubeconfig`);
    const config = JSON.parse(readFileSync(cluster.operatorKubeconfig, 'utf8'));
    const certificateAuthority = Buffer.from(tls.authority.certificate).toString('base64');
    config.clusters[0].cluster = { server: url, 'certificate-authority-data': certificateAuthority };
    await writeFile(path, JSON.stringify(config));
    return await loadConnection({ kubeconfig: path, env: {} });
  }

  async #mounted(serviceAccountFolder: string): Promise<Connection> {
    const { hostname, port } = new URL(this.ground.cluster.plane.url);
    const env = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
    return await loadConnection({ env, serviceAccountFolder });
  }

  /** A Secret that dcred must not touch: from now on any change of it is a violation. */
  async plantForeign(name: string, labels: Readonly<Record<string, string>> = {}): Promise<void> {
    const data = { 'tls.crt': Buffer.from('not a certificate').toString('base64') };
    const secret = await this.admin.create(paths.secrets(this.namespace), { metadata: { name, labels }, data });
    this.#foreign.set(name, fingerprint(secret));
  }

  /** An administrator has restored a snapshot, so that changes of foreign Secrets are not the operator's. */
  async forgiveForeign(): Promise<void> {
    const secrets = await this.secrets();
    for (const name of this.#foreign.keys()) {
      const now = secrets.find(({ metadata }) => metadata.name === name);
      if (now === undefined) this.#foreign.delete(name);
      else this.#foreign.set(name, fingerprint(now));
    }
  }

  /** Creates the certificate's Secret, or changes it. */
  async putCertificate({ certificatePem, keyPem }: LeafFiles, name = 'web-tls'): Promise<void> {
    const encode = (text: string) => Buffer.from(text).toString('base64');
    const object = { metadata: { name }, data: { 'tls.crt': encode(certificatePem), 'tls.key': encode(keyPem) } };
    const path = `${paths.secrets(this.namespace)}/${name}`;
    const { status } = await this.admin.call('PATCH', path, object, 'application/merge-patch+json');
    const secret =
      status === 404 ? await this.admin.create(paths.secrets(this.namespace), object) : await this.admin.get(path);
    this.#foreign.set(name, fingerprint(secret));
  }

  async createResource(spec: object, name = 'web'): Promise<void> {
    const object = { apiVersion: 'dcred.dev/v1alpha1', kind: 'DelegatedCredential', metadata: { name }, spec };
    await this.admin.create(paths.resources(this.namespace), object);
  }

  async createPod(
    name: string,
    labels: Readonly<Record<string, string>> = { app: 'web' },
    annotations = {},
  ): Promise<void> {
    const spec = { automountServiceAccountToken: false, containers: [{ name: 'main', image: 'localhost/none' }] };
    await this.admin.create(paths.pods(this.namespace), { metadata: { name, labels, annotations }, spec });
  }

  async deletePod(name: string): Promise<void> {
    await this.admin.delete(`${paths.pods(this.namespace)}/${name}`);
  }

  async observe(): Promise<Observation> {
    const { admin, namespace } = this;
    const [pods, secrets, resources] = await Promise.all([
      admin.list(paths.pods(namespace)),
      admin.list(paths.secrets(namespace)),
      admin.list(paths.resources(namespace)),
    ]);
    const now = Math.floor(this.clock.now() / 1000);
    return { namespace, pods, secrets, resources, now, foreign: this.#foreign };
  }

  async violations(): Promise<readonly Violation[]> {
    return violations(await this.observe());
  }

  async secrets(): Promise<readonly ApiObject[]> {
    return await this.admin.list(paths.secrets(this.namespace));
  }

  /** Ends whatever still runs. */
  async end(): Promise<void> {
    for (const operator of this.#operators) operator.kill();
    await Promise.all(this.#operators.map(({ ended }) => ended));
  }
}
