/** What a kubeconfig says about TLS: whom to trust, and the client certificate to show. Read again each time: others rotate the files. */
import type { Cluster, User } from '@kubernetes/client-node';
import { assertAuthorities, assertPair } from './assertions.ts';
import type { ConnectionTls } from './connection.ts';
import { ConnectionError } from './connection-error.ts';
import { readConnectionFile } from './connection-files.ts';

/**
 * As client-go reads it: data in the kubeconfig count before a file that it names.
 * @throws ConnectionError where a file cannot be read, or is not what it is named for
 */
export async function kubeconfigTls(cluster: Cluster | undefined, user: User | undefined): Promise<ConnectionTls> {
  const { caData, caFile, name, skipTLSVerify, tlsServerName } = cluster ?? {
    name: '',
    server: '',
    skipTLSVerify: false,
  };
  const ca = await textOf(caData, caFile);
  if (ca !== undefined)
    assertAuthorities(ca, caData ? `certificate-authority-data of cluster ${name}` : (caFile ?? ''));
  const cert = await textOf(user?.certData, user?.certFile);
  const key = await textOf(user?.keyData, user?.keyFile);
  if (user !== undefined) assertUsersPair(user, cert, key);
  return {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(skipTLSVerify && { rejectUnauthorized: false }),
    ...(tlsServerName && { servername: tlsServerName }),
  };
}

async function textOf(data: string | undefined, file: string | undefined): Promise<string | undefined> {
  if (data) return Buffer.from(data, 'base64').toString('utf8');
  return file ? await readConnectionFile(file, 'a file of the kubeconfig cannot be used') : undefined;
}

function assertUsersPair({ name }: User, cert: string | undefined, key: string | undefined): void {
  if (cert === undefined && key === undefined) return;
  if (cert === undefined || key === undefined) {
    const [there, missing] = cert === undefined ? ['key', 'certificate'] : ['certificate', 'key'];
    throw new ConnectionError(`user ${name} has a client ${there} and no client ${missing}: expected both`);
  }
  assertPair(cert, key, `the client certificate of user ${name} and its key`);
}
