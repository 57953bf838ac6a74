/**
 * What a credential plug-in with `provideClusterInfo` is told about the cluster, as client-go tells it.
 * https://kubernetes.io/docs/reference/config-api/client-authentication.v1/#client-authentication-k8s-io-v1-Cluster
 */
import type { Cluster } from '@kubernetes/client-node';
import { kubeconfigTls } from './kubeconfig-tls.ts';

/** What client-node does not read of a cluster, or changes. */
export interface ClusterExtras {
  /** As it is in the file: client-node takes the last slash away. */
  readonly server: string | undefined;
  readonly disableCompression: boolean;
  /** Its extension `client.authentication.k8s.io/exec`, as it is there. */
  readonly execConfig: unknown;
}

/** `spec.cluster` of an ExecCredential. A proxy is in none: a cluster with a proxy-url is refused. */
export interface ExecCluster {
  readonly server: string;
  readonly 'tls-server-name'?: string;
  readonly 'insecure-skip-tls-verify'?: true;
  /** Base64, also where the kubeconfig names a file. */
  readonly 'certificate-authority-data'?: string;
  readonly 'disable-compression'?: true;
  readonly config: unknown;
}

/** @throws ConnectionError where the CA cannot be read */
export async function execCluster(cluster: Cluster, extras: ClusterExtras | undefined): Promise<ExecCluster> {
  const { ca } = await kubeconfigTls(cluster, undefined);
  return {
    server: extras?.server ?? cluster.server,
    ...(cluster.tlsServerName && { 'tls-server-name': cluster.tlsServerName }),
    ...(cluster.skipTLSVerify && { 'insecure-skip-tls-verify': true }),
    ...(ca !== undefined && { 'certificate-authority-data': Buffer.from(String(ca)).toString('base64') }),
    ...(extras?.disableCompression && { 'disable-compression': true }),
    config: extras?.execConfig ?? null,
  };
}
