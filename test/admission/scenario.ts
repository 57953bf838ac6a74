/** The setting in which pods are injected and served: what a user has after `helm install`, but for a node. */
import { type Cluster, startCluster } from '../../testing/cluster/cluster.ts';
import { startOperator } from '../../testing/cluster/operator-process.ts';
import { pointAt, startWebhook, type WebhookProcess } from '../../testing/cluster/webhook-process.ts';

export interface InjectionScenario extends AsyncDisposable {
  readonly cluster: Cluster;
  readonly webhook: WebhookProcess;
}

/** A control plane, a webhook that it calls, and an operator. */
export async function startInjectionScenario(): Promise<InjectionScenario> {
  await using started = new AsyncDisposableStack();
  const cluster = started.use(await startCluster({ controllerManager: true, webhook: true }));
  const webhook = started.adopt(await startWebhook(cluster), (one) => one.stop());
  await pointAt(cluster, webhook.port);
  await webhook.ready();
  started.use(await startOperator({ kubeconfig: cluster.operatorKubeconfig }));
  const all = started.move();
  return { cluster, webhook, [Symbol.asyncDispose]: () => all.disposeAsync() };
}
