/** Where the API server is, and how to prove who we are. */

import type { ConnectionOptions } from 'node:tls';

export type ConnectionTls = Readonly<
  Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'rejectUnauthorized' | 'servername'>
>;

export interface ConnectionCredentials {
  /** Sent with every request: Authorization, Impersonate-User. */
  readonly headers: Readonly<Record<string, string>>;
  /** Client certificate and trust, for new connections. */
  readonly tls: ConnectionTls;
}

export interface Connection {
  /** Scheme, host and port, and a path where the API server is behind one; no trailing slash. */
  readonly server: string;
  /** The service account's or the context's; `default` otherwise. */
  readonly defaultNamespace: string;
  /**
   * The current credentials: cheap enough to ask for every request. With `rejected`, the ones that the server answered 401 to,
   * they are loaded again, unless that has happened already.
   * @throws ConnectionError
   */
  credentials(rejected?: ConnectionCredentials): Promise<ConnectionCredentials>;
}
