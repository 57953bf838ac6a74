/** The connection that a kubeconfig describes: tokens, token files, client certificates, credential plug-ins, OIDC. */

import { readFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import { resolve, sep } from 'node:path';
import type { Cluster, KubeConfig, User } from '@kubernetes/client-node';
import { isDnsLabel } from '../../text/dns-name.ts';
import { explainOpenSsl } from '../../text/openssl-error.ts';
import { trimEndWhile } from '../../text/trim.ts';
import { type Clock, systemClock } from '../clock.ts';
import { assertHeader } from './assertions.ts';
import type { Connection, ConnectionCredentials } from './connection.ts';
import { ConnectionError } from './connection-error.ts';
import { CredentialCache } from './credential-cache.ts';
import { type ClusterExtras, execCluster } from './exec-cluster.ts';
import { type ExecCredential, type ExecPlugin, runExecPlugin } from './exec-plugin.ts';
import type { UserExtras } from './kubeconfig-file.ts';
import { kubeconfigTls } from './kubeconfig-tls.ts';

interface Loaded {
  readonly config: KubeConfig;
  readonly extras: Extras;
}

/** By user, and by cluster. */
interface Extras {
  readonly users: ReadonlyMap<string, UserExtras>;
  readonly clusters: ReadonlyMap<string, ClusterExtras>;
}

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
  const load = async (): Promise<Loaded> => select(await merge(files), context, files);

  let { config, extras } = await load();
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    throw new ConnectionError(
      `expected a cluster with a server in context ${config.getCurrentContext()} of ${files.join(', ')}`,
    );
  }
  if (cluster.proxyUrl) {
    throw new ConnectionError(
      `cluster ${cluster.name} is behind the proxy-url ${hostOf(cluster.proxyUrl)}, which is not supported; ` +
        'give a kubeconfig whose server is reachable directly',
    );
  }
  assertReachable(cluster, files);
  let printed: ExecCredential | undefined;
  const cache = new CredentialCache(async ({ rejected, signal }) => {
    // A new KubeConfig forgets what its authenticators cached, and sees a file that was rewritten in place.
    if (rejected) ({ config, extras } = await load());
    const user = config.getCurrentUser();
    // A context without a user is anonymous.
    if (user === null) return credentialsOf(config);
    const tokenFile = extras.users.get(user.name)?.tokenFile;
    if (tokenFile !== undefined) {
      const token = await readToken(tokenFile);
      return credentialsOf(await withCredential(config, user, { token, expiresAt: undefined }));
    }
    if (!user.exec) return credentialsOf(config);
    const isCurrent = printed !== undefined && (printed.expiresAt ?? Number.POSITIVE_INFINITY) > clock.now();
    if (rejected || !isCurrent || printed === undefined) {
      const plugin = user.exec as ExecPlugin;
      const about = config.getCurrentCluster() ?? cluster;
      const told = plugin.provideClusterInfo ? await execCluster(about, extras.clusters.get(about.name)) : undefined;
      printed = await runExecPlugin(plugin, signal, told);
    }
    return credentialsOf(await withCredential(config, user, printed));
  }, clock);
  return {
    server: trimEndWhile(cluster.server, (character) => character === '/'),
    defaultNamespace: namespaceOf(config, files),
    credentials: (rejected) => cache.get(rejected),
  };
}

/** Throws ConnectionError when a file cannot be read. */
export async function kubeconfigContexts(files: readonly string[]): Promise<readonly string[]> {
  return (await merge(files)).config.contexts.map(({ name }) => name);
}

/** Entries that lack what they must have are left out: those of other contexts are nobody's concern here. */
const LENIENT = { onInvalidEntry: 'filter' } as const;

/** Loaded only here: an operator in its pod never needs it. */
async function newConfig(): Promise<KubeConfig> {
  const { KubeConfig } = await import('@kubernetes/client-node/dist/config.js');
  return new KubeConfig();
}

async function merge(files: readonly string[]): Promise<Loaded> {
  const { readKubeconfigFile } = await import('./kubeconfig-file.ts');
  const merged = await newConfig();
  const extras = { users: new Map<string, UserExtras>(), clusters: new Map<string, ClusterExtras>() };
  for (const file of files) {
    const { clusters, folder, text, users } = await readKubeconfigFile(file);
    const config = await newConfig();
    config.loadFromString(text, LENIENT);
    config.makePathsAbsolute(folder);
    for (const { exec } of config.users) if (exec?.command.includes(sep)) exec.command = resolve(folder, exec.command);
    for (const one of config.clusters) {
      if (merged.getCluster(one.name) !== null) continue;
      merged.addCluster(one);
      const extra = clusters.get(one.name);
      if (extra !== undefined) extras.clusters.set(one.name, extra);
    }
    for (const one of config.users) if (merged.getUser(one.name) === null) merged.addUser(one);
    for (const one of config.contexts) if (merged.getContextObject(one.name) === null) merged.addContext(one);
    for (const [name, extra] of users) if (!extras.users.has(name)) extras.users.set(name, extra);
    if (!merged.currentContext) merged.setCurrentContext(config.currentContext);
  }
  return { config: merged, extras };
}

async function readToken(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    throw new ConnectionError(`expected a token in ${file}, the tokenFile of the kubeconfig's user`, { cause });
  }
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
  const found = server.includes('@') ? 'a URL with a user in it, which is not shown' : JSON.stringify(server);
  throw new ConnectionError(
    `expected the cluster's server as https://HOST:PORT in ${files.join(', ')}, found ${found}`,
  );
}

/** With the named context, or the current one, as the current one. */
function select({ config, extras }: Loaded, context: string | undefined, files: readonly string[]): Loaded {
  const name = context ?? config.getCurrentContext();
  const selected = name ? config.getContextObject(name) : null;
  if (selected === null) {
    const known = config.getContexts().map((one) => one.name);
    throw new ConnectionError(
      `expected a context ${name ? `named ${name}` : 'to be current'} in ${files.join(', ')}, found ${known.join(', ') || 'none'}; name one with --context`,
    );
  }
  const { user } = selected;
  if (user && config.getUser(user) === null) {
    const known = config.getUsers().map((one) => one.name);
    throw new ConnectionError(
      `expected a user named ${user}, as in context ${name}, in ${files.join(', ')}, found ${known.join(', ') || 'none'}`,
    );
  }
  const [unsupported] = extras.users.get(user)?.unsupported ?? [];
  if (unsupported !== undefined) {
    throw new ConnectionError(
      `user ${user} of ${files.join(', ')} has ${unsupported}, which is not supported; impersonate with "as" alone, or name another context with --context`,
    );
  }
  config.setCurrentContext(name);
  return { config, extras };
}

/** The same kubeconfig with a credential that was printed by its plug-in, or read from its file, in the place of that. */
async function withCredential(config: KubeConfig, user: User, printed: ExecCredential): Promise<KubeConfig> {
  const { exec: _, ...rest } = user;
  const { token, clientCertificateData, clientKeyData } = printed;
  const base64 = (pem: string): string => Buffer.from(pem).toString('base64');
  const copy = await newConfig();
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
  const cluster = config.getCurrentCluster();
  const user = config.getCurrentUser();
  // Before client-node reads the same files, without a limit.
  const tls = await kubeconfigTls(cluster ?? undefined, user ?? undefined);
  const options: RequestOptions = {};
  try {
    await config.applyToHTTPSOptions(options);
  } catch (error) {
    // A garbled answer would be quoted by the JSON parser, token and all.
    const said =
      error instanceof Error && !(error instanceof SyntaxError)
        ? `: ${explainOpenSsl(error.message).slice(0, 300).trim()}`
        : '';
    throw new ConnectionError(`the credentials of user ${user?.name ?? '(none)'} could not be loaded${said}`);
  }
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    if (value !== undefined) headers[name.toLowerCase()] = String(value).trim();
  }
  if (options.auth) headers['authorization'] = `Basic ${Buffer.from(options.auth).toString('base64')}`;
  for (const value of Object.values(headers)) assertHeader(value, `the credentials of user ${user?.name ?? '(none)'}`);
  return { headers, tls };
}
