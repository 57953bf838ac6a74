/** The set-up that most tests of this folder start from. */
import { after, before } from 'node:test';
import { type Cluster, startCluster } from '../../testing/cluster/cluster.ts';
import { type OperatorProcess, startOperator } from '../../testing/cluster/operator-process.ts';
import { createTestAuthority, type TestAuthority } from '../../testing/support/certificates.ts';

export interface Scenario {
  readonly cluster: Cluster;
  readonly authority: TestAuthority;
  readonly operator: OperatorProcess;
}

/** One control plane and one operator for all tests of a file; ended after the last. */
export function scenario(): () => Scenario {
  let running: Scenario | undefined;
  before(async () => {
    const cluster = await startCluster({ controllerManager: true });
    const authority = await createTestAuthority();
    running = { cluster, authority, operator: await startOperator({ kubeconfig: cluster.operatorKubeconfig }) };
  });
  after(async () => {
    await running?.operator.stop();
    await running?.cluster[Symbol.asyncDispose]();
  });
  return () => {
    if (running === undefined) throw new Error('the cluster has not started');
    return running;
  };
}

/** A namespace with a certificate `web-tls` and a resource `web` that selects the pods labelled `app: web`. */
export async function servedNamespace(
  { authority, cluster }: Omit<Scenario, 'operator'>,
  spec: object = {},
): Promise<string> {
  const namespace = await cluster.namespace();
  await cluster.putCertificate(namespace, 'web-tls', await authority.issue());
  const selector = { podSelector: { matchLabels: { app: 'web' } } };
  await cluster.createResource(namespace, 'web', { certificateRef: { name: 'web-tls' }, ...selector, ...spec });
  return namespace;
}
