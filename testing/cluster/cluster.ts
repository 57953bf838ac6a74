/** A real control plane with dcred's chart: the base of every test in this folder. */
import { randomUUID } from 'node:crypto';
import { cp, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { DELEGATED_CREDENTIALS } from '../../src/api/resource-types.ts';
import { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { systemClock } from '../../src/kubernetes/clock.ts';
import { loadConnection } from '../../src/kubernetes/connection/load-connection.ts';
import type { Condition, KubernetesObject } from '../../src/kubernetes/objects.ts';
import { PODS, SECRETS } from '../../src/kubernetes/resource-type.ts';

import { auditLogPath } from '../controlplane/audit.ts';
import { type ControlPlane, startControlPlane } from '../controlplane/control-plane.ts';
import type { ControlPlaneOptions } from '../controlplane/options.ts';
import type { LeafFiles } from '../support/certificates.ts';
import { eventually } from '../support/processes.ts';
import { AUDITED_ACCESS } from './access.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const CHART = join(ROOT, 'charts', 'dcred');
const RELEASE_NAMESPACE = 'dcred-system';
/** The operator's own, as the API server names it. */
export const OPERATOR_ACCOUNT = `system:serviceaccount:${RELEASE_NAMESPACE}:dcred`;

export type Secret = KubernetesObject<{ readonly type?: string; readonly data?: Readonly<Record<string, string>> }>;
export type Resource = KubernetesObject<{
  readonly status?: {
    readonly conditions?: readonly Condition[];
    readonly pods?: { readonly selected: number; readonly issued: number; readonly failed: number };
    readonly certificate?: { readonly sha256: string };
    readonly nextRenewalTime?: string;
    readonly earliestExpiryTime?: string;
  };
}>;

export interface PodOptions {
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

export class Cluster {
  readonly plane: ControlPlane;
  readonly client: ApiClient;
  /** What the operator connects with: the chart's service account, so that every test exercises its permissions. */
  readonly operatorKubeconfig: string;
  readonly signal = new AbortController().signal;

  constructor(plane: ControlPlane, client: ApiClient, operatorKubeconfig: string) {
    this.plane = plane;
    this.operatorKubeconfig = operatorKubeconfig;
    this.client = client;
  }

  /** Every test gets its own namespace, so that tests of one file never meet. */
  async namespace(name = `test-${randomUUID().slice(0, 8)}`): Promise<string> {
    await this.plane.kubectl(['create', 'namespace', name]);
    return name;
  }

  async putCertificate(namespace: string, name: string, files: Partial<LeafFiles>): Promise<void> {
    const encode = (text: string | undefined) =>
      text === undefined ? undefined : Buffer.from(text).toString('base64');
    const data = { 'tls.crt': encode(files.certificatePem), 'tls.key': encode(files.keyPem) };
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { namespace, name }, type: 'Opaque', data };
    await this.client.apply(SECRETS, secret, { signal: this.signal, force: true });
  }

  async createResource(namespace: string, name: string, spec: object): Promise<void> {
    const resource = {
      apiVersion: 'dcred.dev/v1alpha1',
      kind: 'DelegatedCredential',
      metadata: { namespace, name },
      spec,
    };
    await this.client.create(DELEGATED_CREDENTIALS, resource, { signal: this.signal });
  }

  async patchResource(namespace: string, name: string, spec: object): Promise<void> {
    await this.client.mergePatch(DELEGATED_CREDENTIALS, { namespace, name }, { spec }, { signal: this.signal });
  }

  /** A pod that is never scheduled: nothing here runs containers. */
  async createPod(namespace: string, name: string, options: PodOptions = {}): Promise<KubernetesObject> {
    const { annotations = {}, labels = { app: 'web' } } = options;
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace, name, labels, annotations },
      spec: { automountServiceAccountToken: false, containers: [{ name: 'main', image: 'localhost/none' }] },
    };
    return await this.client.create(PODS, pod, { signal: this.signal });
  }

  async createPods(namespace: string, count: number, options: PodOptions = {}): Promise<readonly string[]> {
    const names = Array.from({ length: count }, (_, number) => `web-${number}`);
    await Promise.all(names.map((name) => this.createPod(namespace, name, options)));
    return names;
  }

  async deletePod(namespace: string, name: string): Promise<void> {
    await this.plane.kubectl(['delete', 'pod', name, '-n', namespace, '--grace-period=0', '--force']);
  }

  async secret(namespace: string, name: string): Promise<Secret | undefined> {
    const all = await this.secrets(namespace);
    return all.find((secret) => secret.metadata.name === name);
  }

  /** The issued Secrets of a namespace. */
  async secrets(namespace: string): Promise<readonly Secret[]> {
    const selection = { namespace, labelSelector: 'app.kubernetes.io/managed-by=dcred' };
    return (await this.client.list<Secret>(SECRETS, selection, { signal: this.signal })).items;
  }

  async resource(namespace: string, name: string): Promise<Resource> {
    return await this.client.get<Resource>(DELEGATED_CREDENTIALS, { namespace, name }, { signal: this.signal });
  }

  async ready(namespace: string, name: string): Promise<Condition | undefined> {
    const { status } = await this.resource(namespace, name);
    return status?.conditions?.find(({ type }) => type === 'Ready');
  }

  /** Waits for the Ready condition to carry this reason, for the current generation. */
  async untilReason(namespace: string, name: string, reason: string): Promise<Condition> {
    let seen = 'nothing';
    const probe = async () => {
      const { metadata } = await this.resource(namespace, name);
      const ready = await this.ready(namespace, name);
      seen = `${ready?.reason}: ${ready?.message}`;
      return ready?.reason === reason && ready.observedGeneration === metadata.generation ? ready : undefined;
    };
    return await eventually(`${name} to be ${reason}`, probe).catch((error: unknown) => {
      throw new Error(`${error instanceof Error ? error.message : String(error)}; it is ${seen}`);
    });
  }

  /**
   * Waits until the status is so. A reason says nothing of the other fields: it may be older than what the test has just done, and a
   * status is written a moment after what it reports.
   */
  async untilStatus(
    namespace: string,
    name: string,
    what: string,
    isSo: (status: NonNullable<Resource['status']>) => boolean,
  ): Promise<void> {
    let seen: Resource['status'];
    const probe = async () => {
      seen = (await this.resource(namespace, name)).status;
      return (seen !== undefined && isSo(seen)) || undefined;
    };
    await eventually(`the status of ${name} to show ${what}`, probe).catch((error: unknown) => {
      throw new Error(`${error instanceof Error ? error.message : String(error)}; it is ${JSON.stringify(seen)}`);
    });
  }

  /** Waits for these counts of pods in the status. */
  async untilPods(namespace: string, name: string, pods: object): Promise<void> {
    await this.untilStatus(namespace, name, JSON.stringify(pods), (status) => isDeepStrictEqual(status.pods, pods));
  }

  /** Waits until there are exactly this many issued Secrets. */
  async untilSecrets(namespace: string, count: number): Promise<readonly Secret[]> {
    const probe = async () => {
      const secrets = await this.secrets(namespace);
      return secrets.length === count ? secrets : undefined;
    };
    return await eventually(`${count} issued Secrets in ${namespace}`, probe);
  }

  async events(
    namespace: string,
  ): Promise<
    readonly { reason?: string; note?: string; type?: string; regarding?: { kind?: string; name?: string } }[]
  > {
    const { stdout } = await this.plane.kubectl(['get', 'events.v1.events.k8s.io', '-n', namespace, '-o', 'json']);
    return (JSON.parse(stdout) as { items: [] }).items;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
    if (AUDIT_DIRECTORY !== undefined) await keepAuditLog(this.plane, AUDIT_DIRECTORY);
    await this.plane.stop();
  }
}

export interface ClusterOptions extends ControlPlaneOptions {
  /** Install the webhook's objects too. Default: false, because without a webhook the API server would wait for one. */
  readonly webhook?: boolean;
  /** Namespaces that the chart needs, created before it is installed. */
  readonly namespaces?: readonly string[];
  /** Further arguments of `helm install`. */
  readonly helm?: readonly string[];
}

/** The folder in which every cluster leaves its audit log, for scripts/audit-report.ts. */
const AUDIT_DIRECTORY = process.env['DCRED_AUDIT'];

async function keepAuditLog(plane: ControlPlane, directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  await cp(auditLogPath(plane.directory), join(directory, `${randomUUID()}.audit.log`), { force: true });
}

export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const plane = await startControlPlane({
    ...(AUDIT_DIRECTORY === undefined ? {} : { audit: AUDITED_ACCESS }),
    ...options,
  });
  const args = [
    '--namespace',
    RELEASE_NAMESPACE,
    '--create-namespace',
    '--set',
    `webhook.enabled=${options.webhook === true}`,
    ...(options.helm ?? []),
  ];
  for (const name of options.namespaces ?? []) await plane.kubectl(['create', 'namespace', name]);
  await plane.helm(['install', 'dcred', CHART, ...args]);
  await plane.untilServed();
  const connection = await loadConnection({ kubeconfig: plane.kubeconfig, env: {} });
  const settings = { userAgent: 'dcred-test', fieldManager: 'dcred-test', clock: systemClock, random: Math.random };
  const identity = { serviceAccount: { namespace: RELEASE_NAMESPACE, name: 'dcred' } };
  return new Cluster(plane, new ApiClient(connection, settings), await plane.kubeconfigFor(identity));
}
