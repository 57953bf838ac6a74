/** Finds the API server: the one place that knows every way to it. */

import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Connection } from './connection.ts';
import { inClusterConnection, SERVICE_ACCOUNT_FOLDER } from './in-cluster.ts';
import { kubeconfigConnection, kubeconfigContexts } from './kubeconfig.ts';

export interface LoadConnectionOptions {
  /** A kubeconfig's path. */
  readonly kubeconfig?: string | undefined;
  /** One of its contexts instead of the current one. */
  readonly context?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where a pod's service account is mounted. */
  readonly serviceAccountFolder?: string;
}

/**
 * Finds the API server as controller-runtime does: the kubeconfig that was named, those in KUBECONFIG, the service account of
 * the pod that this runs in, `~/.kube/config`.
 * @throws ConnectionError when there is none of these, or what there is cannot be used
 */
export async function loadConnection(options: LoadConnectionOptions): Promise<Connection> {
  const { kubeconfig, context, env, serviceAccountFolder = SERVICE_ACCOUNT_FOLDER } = options;
  if (kubeconfig !== undefined) return kubeconfigConnection([kubeconfig], context);
  const fromEnv = filesOf(env);
  if (fromEnv.length > 0) return kubeconfigConnection(fromEnv, context);
  const inCluster = env['KUBERNETES_SERVICE_HOST'] !== undefined && existsSync(join(serviceAccountFolder, 'token'));
  if (inCluster && context === undefined) return inClusterConnection({ env, folder: serviceAccountFolder });
  return kubeconfigConnection([defaultFile(env)], context);
}

type Environment = LoadConnectionOptions['env'];

function filesOf(env: Environment): readonly string[] {
  return (env['KUBECONFIG'] ?? '').split(delimiter).filter((file) => file !== '' && existsSync(file));
}

function defaultFile(env: Environment): string {
  return join(env['HOME'] ?? homedir(), '.kube', 'config');
}

/** The contexts of the kubeconfig that would be used. Throws ConnectionError where it cannot be read. */
export async function contextNames({
  env,
  kubeconfig,
}: Pick<LoadConnectionOptions, 'env' | 'kubeconfig'>): Promise<readonly string[]> {
  const found = kubeconfig === undefined ? filesOf(env) : [kubeconfig];
  return await kubeconfigContexts(found.length > 0 ? found : [defaultFile(env)]);
}
