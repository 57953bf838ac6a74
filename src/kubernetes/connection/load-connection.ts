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
 * the pod that this runs in, `~/.kube/config`. Where KUBECONFIG names files and none of them is there, the last is not tried: whoever
 * mistypes the name of one cluster must not act on another.
 * @throws ConnectionError when there is none of these, or what there is cannot be used
 */
export async function loadConnection(options: LoadConnectionOptions): Promise<Connection> {
  const { kubeconfig, context, env, serviceAccountFolder = SERVICE_ACCOUNT_FOLDER } = options;
  if (kubeconfig !== undefined) return kubeconfigConnection([kubeconfig], context);
  if (filesOf(env).some((file) => existsSync(file))) return kubeconfigConnection(filesToRead(env), context);
  const inCluster = env['KUBERNETES_SERVICE_HOST'] !== undefined && existsSync(join(serviceAccountFolder, 'token'));
  if (inCluster && context === undefined) return inClusterConnection({ env, folder: serviceAccountFolder });
  return kubeconfigConnection(filesToRead(env), context);
}

type Environment = LoadConnectionOptions['env'];

/** Those that KUBECONFIG names. */
function filesOf(env: Environment): readonly string[] {
  return (env['KUBECONFIG'] ?? '').split(delimiter).filter((file) => file !== '');
}

/** Of those that KUBECONFIG names the ones that are there; where none is, all, of which reading reports the first. */
function filesToRead(env: Environment): readonly string[] {
  const named = filesOf(env);
  if (named.length === 0) return [join(env['HOME'] ?? homedir(), '.kube', 'config')];
  const found = named.filter((file) => existsSync(file));
  return found.length > 0 ? found : named;
}

/** The contexts of the kubeconfig that would be used. Throws ConnectionError where it cannot be read. */
export async function contextNames({
  env,
  kubeconfig,
}: Pick<LoadConnectionOptions, 'env' | 'kubeconfig'>): Promise<readonly string[]> {
  return await kubeconfigContexts(kubeconfig === undefined ? filesToRead(env) : [kubeconfig]);
}
