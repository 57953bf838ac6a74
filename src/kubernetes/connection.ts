/** Where the API server is, and how to prove who we are. */

import type { ConnectionOptions } from 'node:tls';

export interface ConnectionCredentials {
  /** Sent with every request: Authorization, Impersonate-User. */
  readonly headers: Readonly<Record<string, string>>;
  /** Client certificate and trust, for new connections. */
  readonly tls: Readonly<Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'rejectUnauthorized' | 'servername'>>;
}

export interface Connection {
  /** Scheme, host and port, and a path where the API server is behind one; no trailing slash. */
  readonly server: string;
  /** The service account's or the context's; `default` otherwise. */
  readonly defaultNamespace: string;
  /** The current credentials: cheap to call for every request. `refresh` forgets what is cached (after a 401). */
  credentials(options?: { readonly refresh?: boolean }): Promise<ConnectionCredentials>;
}

export interface LoadConnectionOptions {
  /** A kubeconfig's path. */
  readonly kubeconfig?: string | undefined;
  /** One of its contexts instead of the current one. */
  readonly context?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}

export function loadConnection(_options: LoadConnectionOptions): Promise<Connection> {
  throw new Error('not yet');
}
