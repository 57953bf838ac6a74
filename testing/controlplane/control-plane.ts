import { randomUUID } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Component, Guardian } from '../support/guardian.ts';
import { canConnect, freePort } from '../support/ports.ts';
import { eventually, type Output, run } from '../support/processes.ts';
import { type BinaryName, ensureBinaries } from './binaries.ts';
import { type Authority, createAuthority } from './certificates.ts';
import {
  apiServerArguments,
  controllerManagerArguments,
  DEFAULT_SERVICE_RANGE,
  etcdArguments,
  type Files,
  schedulerArguments,
  writeFiles,
} from './components.ts';
import type { EnsureOptions } from './go-module.ts';
import { type Credential, kubeconfig } from './kubeconfig.ts';
import { isReady } from './readiness.ts';

type ComponentName = 'etcd' | 'kube-apiserver' | 'kube-controller-manager' | 'kube-scheduler';

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

export type Identity =
  | { readonly serviceAccount: { readonly namespace: string; readonly name: string } }
  | { readonly user: string; readonly groups?: readonly string[] };

/** A component did not start; the end of its log is in the message. */
export class ControlPlaneError extends Error {
  readonly code = 'CONTROL_PLANE';
  override readonly name = 'ControlPlaneError';
}

const START_TIMEOUT_MS = 60_000;
const PORT_ATTEMPTS = 5;

/**
 * Starts etcd and a Kubernetes API server, ready for requests, in a folder of their own (about two seconds once the
 * binaries are built). Any number run side by side. `stop`, or the end of this process in any way, removes all of it.
 */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const names: BinaryName[] = ['etcd', 'kube-apiserver', 'kubectl', 'helm'];
  if (options.controllerManager === true) names.push('kube-controller-manager');
  if (options.scheduler === true) names.push('kube-scheduler');
  const { onProgress } = options;
  const binaries = await ensureBinaries(names, onProgress === undefined ? {} : { onProgress });
  const guardian = await Guardian.start();
  try {
    const authority = await createAuthority(new Date());
    const files = await writeFiles(guardian.directory, authority, {
      serviceRange: options.serviceRange ?? DEFAULT_SERVICE_RANGE,
      bindAddress: options.bindAddress ?? '127.0.0.1',
    });
    await mkdir(join(guardian.directory, 'home'));
    const plane = new ControlPlane(options, binaries, guardian, authority, files);
    await plane.start();
    return plane;
  } catch (error) {
    await guardian.stop();
    throw error;
  }
}

export class ControlPlane {
  /** Holds the data, the certificates, and a log for each component: `<component>.log`. */
  readonly directory: string;
  /** The administrator's kubeconfig: a path. */
  readonly kubeconfig: string;
  readonly #options: ControlPlaneOptions;
  readonly #binaries: Readonly<Partial<Record<BinaryName, string>>>;
  readonly #guardian: Guardian;
  readonly #authority: Authority;
  readonly #files: Files;
  readonly #components = new Map<ComponentName, Component>();
  #port = 0;

  constructor(
    options: ControlPlaneOptions,
    binaries: Readonly<Partial<Record<BinaryName, string>>>,
    guardian: Guardian,
    authority: Authority,
    files: Files,
  ) {
    this.#options = options;
    this.#binaries = binaries;
    this.#guardian = guardian;
    this.#authority = authority;
    this.#files = files;
    this.directory = guardian.directory;
    this.kubeconfig = join(this.directory, 'admin.kubeconfig');
  }

  /** `https://127.0.0.1:<port>`, or with the address that was asked for; the same after a restart of the API server. */
  get url(): string {
    const { bindAddress = '0.0.0.0' } = this.#options;
    return `https://${bindAddress === '0.0.0.0' ? '127.0.0.1' : bindAddress}:${this.#port}`;
  }

  /** The PEM certificate of the CA that signed the API server's certificate and its clients'. */
  get certificateAuthority(): string {
    return this.#authority.certificate;
  }

  /** The ids of the components that run now. */
  get pids(): Readonly<Partial<Record<ComponentName, number>>> {
    const running = [...this.#components].filter(([, component]) => !component.hasExited);
    return Object.fromEntries(running.map(([name, component]) => [name, component.pid]));
  }

  /** For `startControlPlane` only. */
  async start(): Promise<void> {
    this.#launch('etcd', etcdArguments(this.directory, this.#files));
    await this.#until('etcd', () => canConnect({ path: this.#files.etcdSocket }));
    await this.#startApiServerOnAnyPort();
    const admin = await this.#authority.issueClient('admin', ['system:masters']);
    await this.#writeKubeconfig(this.kubeconfig, admin);
    if (this.#options.controllerManager === true) await this.#startControllerManager();
    if (this.#options.scheduler === true) {
      const config = await this.kubeconfigFor({ user: 'system:kube-scheduler' });
      this.#launch('kube-scheduler', schedulerArguments(config));
    }
  }

  /** Runs kubectl as the administrator, or with another kubeconfig. Rejects with what kubectl printed. */
  kubectl(args: readonly string[], options: ToolOptions = {}): Promise<Output> {
    return this.#runTool('kubectl', args, options);
  }

  /** Runs helm, with its caches in this control plane's folder. Rejects with what helm printed. */
  helm(args: readonly string[], options: ToolOptions = {}): Promise<Output> {
    return this.#runTool('helm', args, options);
  }

  /**
   * A kubeconfig file for a service account (which must exist), with a real token from the TokenRequest API, valid for a
   * day; or for any user and groups, with a client certificate.
   */
  async kubeconfigFor(identity: Identity): Promise<string> {
    const path = join(this.directory, `${randomUUID()}.kubeconfig`);
    if ('user' in identity) {
      await this.#writeKubeconfig(path, await this.#authority.issueClient(identity.user, identity.groups ?? []));
      return path;
    }
    const { namespace, name } = identity.serviceAccount;
    const { stdout } = await this.kubectl(['create', 'token', name, `--namespace=${namespace}`, '--duration=24h']);
    await this.#writeKubeconfig(path, { token: stdout.trim() }, namespace);
    return path;
  }

  /** Ends the API server, by default in an orderly way; the data stays. Resolves when its process is gone. */
  async stopApiServer(options: { readonly signal?: 'SIGTERM' | 'SIGKILL' } = {}): Promise<void> {
    await this.#components.get('kube-apiserver')?.end(options.signal ?? 'SIGTERM');
  }

  /** Starts the API server again, at the same address and with the same data. */
  async startApiServer(): Promise<void> {
    if (this.#components.get('kube-apiserver')?.hasExited === false) return;
    this.#launchApiServer();
    await this.#untilApiServerIsReady();
  }

  /** Ends every component and removes the folder. May be called again. */
  async stop(): Promise<void> {
    await this.#guardian.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #launch(name: ComponentName, args: readonly string[]): void {
    const binary = this.#binaries[name];
    if (binary === undefined) throw new ControlPlaneError(`no binary for ${name}`);
    const component = this.#guardian.startComponent({
      name,
      binary,
      args: [...args, ...this.#featureGates(name), ...(this.#options.extraArgs?.[name] ?? [])],
    });
    this.#components.set(name, component);
  }

  #featureGates(name: ComponentName): readonly string[] {
    const gates = Object.entries(this.#options.featureGates ?? {});
    if (gates.length === 0 || name === 'etcd') return [];
    return [`--feature-gates=${gates.map(([gate, on]) => `${gate}=${on}`).join(',')}`];
  }

  #launchApiServer(): void {
    this.#launch(
      'kube-apiserver',
      apiServerArguments(this.#files, {
        port: this.#port,
        bindAddress: this.#options.bindAddress ?? '127.0.0.1',
        serviceRange: this.#options.serviceRange ?? DEFAULT_SERVICE_RANGE,
        hasControllerManager: this.#options.controllerManager === true,
      }),
    );
  }

  /** Between finding a free port and binding it, another process may take it: then the next one is tried. */
  async #startApiServerOnAnyPort(): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      this.#port = await freePort(this.#options.bindAddress);
      this.#launchApiServer();
      try {
        await this.#untilApiServerIsReady();
        return;
      } catch (error) {
        const lostTheRace = error instanceof ControlPlaneError && error.message.includes('address already in use');
        if (!lostTheRace || attempt === PORT_ATTEMPTS) throw error;
      }
    }
  }

  async #untilApiServerIsReady(): Promise<void> {
    const { authority, adminCertificate, adminKey } = this.#files;
    await this.#until('kube-apiserver', () =>
      isReady(`${this.url}/readyz`, { ca: authority, certificate: adminCertificate, key: adminKey }),
    );
  }

  async #startControllerManager(): Promise<void> {
    const config = await this.kubeconfigFor({ user: 'system:kube-controller-manager', groups: ['system:masters'] });
    this.#launch(
      'kube-controller-manager',
      controllerManagerArguments(this.#files, config, { hasScheduler: this.#options.scheduler === true }),
    );
    // It serves no health check here. Its first visible work is what a pod needs first.
    await this.#until('kube-controller-manager', () =>
      this.kubectl(['get', 'serviceaccount', 'default', '--namespace=default']).then(
        () => true,
        () => false,
      ),
    );
  }

  /** Waits for a component. Rejects at once when it ends. */
  async #until(name: ComponentName, probe: () => Promise<boolean>): Promise<void> {
    const component = this.#components.get(name);
    if (component === undefined) throw new ControlPlaneError(`${name} was not started`);
    const failure = async (what: string, cause?: unknown) =>
      new ControlPlaneError(`${name} ${what}. The end of its log:\n${await component.logTail()}`, { cause });
    const answer = async () => {
      if (component.hasExited) return 'ended' as const;
      return (await probe()) ? ('ready' as const) : undefined;
    };
    const outcome = await eventually(name, answer, { timeoutMs: START_TIMEOUT_MS, intervalMs: 20 }).catch(
      async (cause: unknown) => {
        throw await failure(`was not ready after ${START_TIMEOUT_MS / 1_000} s`, cause);
      },
    );
    if (outcome === 'ended') throw await failure('ended while it was being started');
  }

  #writeKubeconfig(path: string, credential: Credential, namespace = 'default'): Promise<void> {
    const text = kubeconfig({
      server: this.url,
      certificateAuthority: this.#authority.certificate,
      credential,
      namespace,
    });
    return writeFile(path, text, { mode: 0o600 });
  }

  #runTool(name: 'kubectl' | 'helm', args: readonly string[], options: ToolOptions): Promise<Output> {
    const binary = this.#binaries[name];
    if (binary === undefined) throw new ControlPlaneError(`no binary for ${name}`);
    const home = join(this.directory, 'home');
    const { kubeconfig: config = this.kubeconfig, env, ...rest } = options;
    return run(binary, args, {
      ...rest,
      // No setting or cache of the user's own may reach a test.
      env: {
        PATH: process.env['PATH'],
        HOME: home,
        KUBECONFIG: config,
        HELM_CACHE_HOME: join(home, 'helm', 'cache'),
        HELM_CONFIG_HOME: join(home, 'helm', 'config'),
        HELM_DATA_HOME: join(home, 'helm', 'data'),
        ...env,
      },
    });
  }
}
