import type { AuditRule } from './audit.ts';
import type { EnsureOptions } from './go-module.ts';

export type ComponentName = 'etcd' | 'kube-apiserver' | 'kube-controller-manager' | 'kube-scheduler';

export interface ControlPlaneOptions extends Pick<EnsureOptions, 'onProgress'> {
  /**
   * Garbage collection, Deployments, namespaces' deletion and service account tokens need it. Default: false; then the
   * ServiceAccount admission plug-in is off too, so that pods can be created.
   */
  readonly controllerManager?: boolean;
  /** Default: false. */
  readonly scheduler?: boolean;
  /** Default: 127.0.0.1, which no pod of a real node can reach. */
  readonly bindAddress?: string;
  /** The addresses of Services: an IPv4 range such as the default, 10.0.0.0/24. */
  readonly serviceRange?: string;
  /** What etcd may hold before it refuses writes. Default: 512 MiB. */
  readonly etcdQuotaBytes?: number;
  /** What the API server logs of its requests, for `auditLog()`. Default: nothing. */
  readonly audit?: readonly AuditRule[];
  /** The path of another version's kube-apiserver. Default: the pinned one. */
  readonly apiServer?: string;
  /** Given to every component. */
  readonly featureGates?: Readonly<Record<string, boolean>>;
  /** Appended to a component's command line, where the last of two equal flags wins. */
  readonly extraArgs?: Partial<Readonly<Record<ComponentName, readonly string[]>>>;
}

export interface ToolOptions {
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Default: the administrator's. */
  readonly kubeconfig?: string;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface ServiceAccountName {
  readonly namespace: string;
  readonly name: string;
}

export type Identity =
  | { readonly serviceAccount: ServiceAccountName }
  | { readonly user: string; readonly groups?: readonly string[] };

export interface KubeconfigOptions {
  /** Lifetime of a service account's token. Default: a day. Zero or less: it has expired already. */
  readonly lifetimeSeconds?: number;
  /**
   * Name the CA's certificate and a service account's token by file, as in a pod, for clients that read them again. The token
   * is at `<kubeconfig>.token`, and `renewToken` replaces it. Default: false, everything is in the kubeconfig.
   */
  readonly inFiles?: boolean;
}

/** A component did not start; the end of its log is in the message. */
export class ControlPlaneError extends Error {
  readonly code = 'ControlPlane';
  override readonly name = 'ControlPlaneError';
}
