/** The connection that a kubeconfig describes: tokens, token files, client certificates, credential plug-ins, OIDC. */

import { readFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import { dirname, resolve } from 'node:path';
import type { Cluster, KubeConfig, User } from '@kubernetes/client-node';
import { isDnsLabel } from '../../text/dns-name.ts';
import { explainOpenSsl } from '../../text/openssl-error.ts';
import { explainFileError } from '../../text/system-error.ts';
import { trimEndWhile } from '../../text/trim.ts';
import { type Clock, systemClock } from '../clock.ts';
import type { Connection, ConnectionCredentials, ConnectionTls } from './connection.ts';
import { ConnectionError } from './connection-error.ts';
import { CredentialCache } from './credential-cache.ts';
import { type ExecCredential, type ExecPlugin, runExecPlugin } from './exec-plugin.ts';

/**
 * @param files merged as kubectl merges KUBECONFIG: the first that has a name wins
 * @param context instead of the current one
 * @throws ConnectionError when a file cannot be read or names no usable cluster
 */
export async function kubeconfigConnection(
  files: readonly string[],
  context?: string,
  clock: Clock = systemClock,
): Promise<Connection> {
  // Loaded only here: an operator in its pod never needs it.
  const { KubeConfig } = await import('@kubernetes/client-node/dist/config.js');
  const load = (): KubeConfig => select(merge(KubeConfig, files), context, files);

  let config = load();
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    throw new ConnectionError(`expected a cluster in context ${config.getCurrentContext()} of ${files.join(', ')}`);
  }
  if (cluster.proxyUrl !== undefined) {
    throw new ConnectionError(
      `cluster ${cluster.name} is behind the proxy-url ${hostOf(cluster.proxyUrl)}, which is not supported; ` +
        'give a kubeconfig whose server is reachable directly',
    );
  }
  assertReachable(cluster, files);
  const tokenFiles = await readTokenFiles(files);
  let printed: ExecCredential | undefined;
  const cache = new CredentialCache(async ({ rejected, signal }) => {
    // A new KubeConfig forgets what its authenticators cached, and sees a file that was rewritten in place.
    if (rejected) config = load();
    const user = config.getCurrentUser();
    const tokenFile = user === null ? undefined : tokenFiles.get(user.name);
    if (user !== null && tokenFile !== undefined) {
      const token = await readToken(tokenFile);
      return credentialsOf(withExecCredential(config, new KubeConfig(), user, { token, expiresAt: undefined }));
    }
    if (user === null || !user.exec) return credentialsOf(config);
    const isCurrent = printed !== undefined && (printed.expiresAt ?? Number.POSITIVE_INFINITY) > clock.now();
    if (rejected || !isCurrent || printed === undefined) printed = await runExecPlugin(user.exec as ExecPlugin, signal);
    return credentialsOf(withExecCredential(config, new KubeConfig(), user, printed));
  }, clock);
  return {
    server: trimEndWhile(cluster.server, (character) => character === '/'),
    defaultNamespace: namespaceOf(config, files),
    credentials: (rejected) => cache.get(rejected),
  };
}

/** Throws ConnectionError when a file cannot be read. */
export async function kubeconfigContexts(files: readonly string[]): Promise<readonly string[]> {
  const { KubeConfig } = await import('@kubernetes/client-node/dist/config.js');
  return merge(KubeConfig, files).contexts.map(({ name }) => name);
}

function merge(Config: new () => KubeConfig, files: readonly string[]): KubeConfig {
  const merged = new Config();
  for (const file of files) {
    const config = new Config();
    try {
      config.loadFromFile(file);
    } catch (error) {
      throw unreadable(file, error);
    }
    for (const one of config.clusters) if (merged.getCluster(one.name) === null) merged.addCluster(one);
    for (const one of config.users) if (merged.getUser(one.name) === null) merged.addUser(one);
    for (const one of config.contexts) if (merged.getContextObject(one.name) === null) merged.addContext(one);
    if (!merged.currentContext) merged.setCurrentContext(config.currentContext);
  }
  return merged;
}

interface RawUsers {
  readonly users?: readonly { readonly name?: unknown; readonly user?: { readonly tokenFile?: unknown } | null }[];
}

/** By user; client-node reads no `tokenFile`, and would send such a user's requests without a token. */
async function readTokenFiles(files: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const file of files) {
    const text = await readFile(file, 'utf8');
    if (!text.includes('tokenFile')) continue;
    const { load } = await import('js-yaml');
    const { users } = (load(text) ?? {}) as RawUsers;
    for (const { name, user } of Array.isArray(users) ? users : []) {
      const tokenFile = user?.tokenFile;
      if (typeof name !== 'string' || typeof tokenFile !== 'string' || tokenFile === '' || found.has(name)) continue;
      found.set(name, resolve(dirname(file), tokenFile));
    }
  }
  return found;
}

async function readToken(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    throw new ConnectionError(`expected a token in ${file}, the tokenFile of the kubeconfig's user`, { cause });
  }
}

/** The YAML parser quotes the text around what it does not like, which may be a key: its message goes no further. */
function unreadable(file: string, error: unknown): ConnectionError {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string')
    return new ConnectionError(
      `no kubeconfig: ${explainFileError(file, error)}; name another with --kubeconfig or KUBECONFIG`,
    );
  return new ConnectionError(`${file} cannot be parsed as a kubeconfig; "kubectl config view" shows the error`);
}

/** Without the password that may be in it. */
function hostOf(url: string): string {
  return URL.parse(url)?.host || '(no URL)';
}

/** Another word would change the paths of requests. */
function namespaceOf(config: KubeConfig, files: readonly string[]): string {
  const context = config.getCurrentContext();
  const namespace: unknown = config.getContextObject(context)?.namespace || 'default';
  if (typeof namespace === 'string' && isDnsLabel(namespace)) return namespace;
  throw new ConnectionError(
    `${files.join(', ')}: expected a namespace in context ${context}, found ${JSON.stringify(namespace)}; correct it there`,
  );
}

/** Without TLS only where the kubeconfig says that nothing is verified anyway. */
function assertReachable({ server, skipTLSVerify }: Cluster, files: readonly string[]): void {
  const protocol = URL.parse(server)?.protocol;
  if (protocol === 'https:' || (protocol === 'http:' && skipTLSVerify === true)) return;
  throw new ConnectionError(
    `expected the cluster's server as https://HOST:PORT in ${files.join(', ')}, found ${JSON.stringify(server)}`,
  );
}

function select(config: KubeConfig, context: string | undefined, files: readonly string[]): KubeConfig {
  const name = context ?? config.getCurrentContext();
  if (!name || config.getContextObject(name) === null) {
    const known = config.getContexts().map((one) => one.name);
    throw new ConnectionError(
      `expected a context ${name ? `named ${name}` : 'to be current'} in ${files.join(', ')}, found ${known.join(', ') || 'none'}; name one with --context`,
    );
  }
  config.setCurrentContext(name);
  return config;
}

/** The same kubeconfig with a credential that was printed by its plug-in, or read from its file, in the place of that. */
function withExecCredential(config: KubeConfig, copy: KubeConfig, user: User, printed: ExecCredential): KubeConfig {
  const { exec: _, ...rest } = user;
  const { token, clientCertificateData, clientKeyData } = printed;
  const base64 = (pem: string): string => Buffer.from(pem).toString('base64');
  copy.loadFromOptions({
    clusters: config.clusters,
    contexts: config.contexts,
    currentContext: config.currentContext,
    users: [
      {
        ...rest,
        ...(token !== undefined && { token }),
        ...(clientCertificateData !== undefined && { certData: base64(clientCertificateData) }),
        ...(clientKeyData !== undefined && { keyData: base64(clientKeyData) }),
      },
    ],
  });
  return copy;
}

async function credentialsOf(config: KubeConfig): Promise<ConnectionCredentials> {
  const options: RequestOptions = {};
  try {
    await config.applyToHTTPSOptions(options);
  } catch (error) {
    // A garbled answer would be quoted by the JSON parser, token and all.
    const said =
      error instanceof Error && !(error instanceof SyntaxError)
        ? `: ${explainOpenSsl(error.message).slice(0, 300).trim()}`
        : '';
    const user = config.getCurrentUser()?.name ?? '(none)';
    throw new ConnectionError(`the credentials of user ${user} could not be loaded${said}`);
  }
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    if (value !== undefined) headers[name.toLowerCase()] = String(value).trim();
  }
  if (options.auth) headers['authorization'] = `Basic ${Buffer.from(options.auth).toString('base64')}`;
  const { ca, cert, key, rejectUnauthorized, servername } = options;
  const tls: ConnectionTls = {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(rejectUnauthorized !== undefined && { rejectUnauthorized }),
    ...(servername !== undefined && { servername }),
  };
  return { headers, tls };
}
