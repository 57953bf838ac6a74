/** The connection of a process in a pod. */

import { readFile } from 'node:fs/promises';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { type Clock, systemClock } from '../clock.ts';
import { assertAuthorities, assertHeader } from './assertions.ts';
import type { Connection } from './connection.ts';
import { ConnectionError } from './connection-error.ts';
import { CredentialCache } from './credential-cache.ts';

export const SERVICE_ACCOUNT_FOLDER = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * Of the mounted files. Two small ones cost little to read, and only while there are calls; where the API server has a new CA, no new
 * connection comes to be before they are read again.
 */
const MAX_AGE_MS = 1_000;

export interface InClusterOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly folder?: string;
  readonly clock?: Clock;
}

/**
 * Reads what kubelet mounts, by hand: client-node would do it, with 20 MB of memory that an operator has no use for. The
 * token is valid for an hour and kubelet replaces it at four fifths; the cache reads it again long before.
 * @throws ConnectionError when the pod has no service account
 */
export async function inClusterConnection(options: InClusterOptions): Promise<Connection> {
  const { env, folder = SERVICE_ACCOUNT_FOLDER, clock = systemClock } = options;
  const host = env['KUBERNETES_SERVICE_HOST'];
  if (host === undefined || host === '') {
    throw new ConnectionError(
      'expected KUBERNETES_SERVICE_HOST to be set, as it is in every pod; give a kubeconfig elsewhere',
    );
  }
  const server = serverOf(host, env['KUBERNETES_SERVICE_PORT'] || '443');
  const read = async (name: string): Promise<string> => {
    try {
      return await readFile(join(folder, name), 'utf8');
    } catch (cause) {
      throw new ConnectionError(
        `expected a service account's ${name} in ${folder}; is automountServiceAccountToken off?`,
        {
          cause,
        },
      );
    }
  };
  const cache = new CredentialCache(
    async () => {
      const [token, ca] = await Promise.all([read('token'), read('ca.crt')]);
      assertAuthorities(ca, join(folder, 'ca.crt'));
      const authorization = `Bearer ${token.trim()}`;
      assertHeader(authorization, join(folder, 'token'));
      return { headers: { authorization }, tls: { ca } };
    },
    clock,
    MAX_AGE_MS,
  );
  await cache.get();
  const namespace = await read('namespace').catch(() => '');
  return {
    server,
    defaultNamespace: namespace.trim() || 'default',
    credentials: (rejected) => cache.get(rejected),
  };
}

function serverOf(host: string, port: string): string {
  const server = `https://${isIPv6(host) ? `[${host}]` : host}:${port}`;
  const { hash, pathname, search, username } = URL.parse(server) ?? { pathname: '' };
  if (pathname === '/' && !hash && !search && !username) return server;
  throw new ConnectionError(
    `expected a host and a port in KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, found "${host}" and "${port}"`,
  );
}
