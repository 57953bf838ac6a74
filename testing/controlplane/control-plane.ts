import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Component, Guardian } from '../support/guardian.ts';
import { canConnect, freePort } from '../support/ports.ts';
import { CommandFailedError, eventually, type Output, run } from '../support/processes.ts';
import { type AuditEvent, auditArguments, auditLogPath, readAuditLog } from './audit.ts';
import { type BinaryName, ensureBinaries } from './binaries.ts';
import { type Authority, createAuthority } from './certificates.ts';
import {
  type Addresses,
  apiServerArguments,
  controllerManagerArguments,
  DEFAULT_SERVICE_RANGE,
  etcdArguments,
  type Files,
  schedulerArguments,
  writeFiles,
  writeServingFiles,
} from './components.ts';
import { Etcd } from './etcd.ts';
import { Identities } from './identities.ts';
import {
  type ComponentName,
  ControlPlaneError,
  type ControlPlaneOptions,
  type Identity,
  type KubeconfigOptions,
  type ServiceAccountName,
  type ToolOptions,
} from './options.ts';
import { isReady } from './readiness.ts';

/** A busy machine needs many times the usual two seconds; a component that ends is noticed at once. */
const START_TIMEOUT_MS = 600_000;
const PORT_ATTEMPTS = 5;

type TokenOptions = Pick<KubeconfigOptions, 'lifetimeSeconds'>;

interface StopOptions {
  /** Default: SIGTERM, a clean shutdown. */
  readonly signal?: 'SIGTERM' | 'SIGKILL';
}

/**
 * Go's garbage collector runs when the heap has grown fivefold, not twofold: an API server builds 300 MB of schemas to start, and a fifth
 * of its CPU until then went into collections. A test has memory to spare, but no CPU.
 */
const RARE_COLLECTIONS = '400';

/**
 * Starts etcd and a Kubernetes API server, ready for requests, in their own folder (about two seconds once the
 * binaries are built). Any number run side by side. `stop`, or the end of this process in any way, removes all of it.
 */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const names: BinaryName[] = ['etcd', 'etcdctl', 'etcdutl', 'kube-apiserver', 'kubectl', 'helm'];
  if (options.controllerManager === true) names.push('kube-controller-manager');
  if (options.scheduler === true) names.push('kube-scheduler');
  const { apiServer, onProgress } = options;
  const pinned = await ensureBinaries(names, onProgress === undefined ? {} : { onProgress });
  const binaries = { ...pinned, ...(apiServer !== undefined && { 'kube-apiserver': apiServer }) };
  const guardian = await Guardian.start();
  try {
    const authority = await createAuthority(new Date());
    const files = await writeFiles(guardian.directory, authority, addressesOf(options));
    await mkdir(join(guardian.directory, 'home'));
    const audit = options.audit === undefined ? [] : await auditArguments(guardian.directory, options.audit);
    const plane = new ControlPlane(options, binaries, guardian, authority, files, audit);
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
  readonly #files: Files;
  readonly #audit: readonly string[];
  readonly #etcd: Etcd;
  readonly #identities: Identities;
  readonly #components = new Map<ComponentName, Component>();
  #extraApiServerArgs: readonly string[] = [];
  #port = 0;

  constructor(
    options: ControlPlaneOptions,
    binaries: Readonly<Partial<Record<BinaryName, string>>>,
    guardian: Guardian,
    authority: Authority,
    files: Files,
    audit: readonly string[],
  ) {
    this.#options = options;
    this.#binaries = binaries;
    this.#guardian = guardian;
    this.#files = files;
    this.#audit = audit;
    this.directory = guardian.directory;
    this.kubeconfig = join(this.directory, 'admin.kubeconfig');
    const tools = { etcdctl: this.#binary('etcdctl'), etcdutl: this.#binary('etcdutl') };
    this.#etcd = new Etcd(tools, this.directory, files.etcdSocket);
    this.#identities = new Identities({
      directory: this.directory,
      authority,
      signingKey: files.serviceAccountKey,
      server: () => this.url,
      uidOf: (account) => this.#uidOf(account),
    });
  }

  /** `https://127.0.0.1:<port>`, or with the given address; the same after a restart of the API server. */
  get url(): string {
    const { bindAddress = '0.0.0.0' } = this.#options;
    return `https://${bindAddress === '0.0.0.0' ? '127.0.0.1' : bindAddress}:${this.#port}`;
  }

  /** The PEM certificate of the CA that signed the API server's certificate and its clients'. */
  get certificateAuthority(): string {
    return this.#identities.authority.certificate;
  }

  /** What clients with a kubeconfig `inFiles` trust: a PEM file that `rotateAuthority` replaces. */
  get trustFile(): string {
    return this.#identities.trustFile;
  }

  /** The ids of the components that run now. */
  get pids(): Readonly<Partial<Record<ComponentName, number>>> {
    const running = [...this.#components].filter(([, component]) => !component.hasExited);
    return Object.fromEntries(running.map(([name, component]) => [name, component.pid]));
  }

  /** For `startControlPlane` only. */
  async start(): Promise<void> {
    await this.startEtcd();
    await this.#startApiServerOnAnyPort();
    await this.publishAuthority();
    await this.#identities.writeAdminKubeconfig(this.kubeconfig);
    await this.#startControllers();
  }

  /** Runs kubectl as the administrator, or with another kubeconfig. Rejects with what kubectl printed. */
  kubectl(args: readonly string[], options: ToolOptions = {}): Promise<Output> {
    return this.#runTool('kubectl', args, options);
  }

  /** Runs helm, with its caches in this control plane's folder. Rejects with what helm printed. */
  helm(args: readonly string[], options: ToolOptions = {}): Promise<Output> {
    return this.#runTool('helm', args, options);
  }

  /** A kubeconfig file for a service account (which must exist), with a token; or for any user, with a client certificate. */
  async kubeconfigFor(identity: Identity, options: KubeconfigOptions = {}): Promise<string> {
    return await this.#identities.kubeconfigFor(identity, options);
  }

  /** A service account's token, of any lifetime. The API server accepts an expired one for up to 10 s more: its cache. */
  async tokenFor(account: ServiceAccountName, options: TokenOptions = {}): Promise<string> {
    return await this.#identities.tokenFor(account, options);
  }

  /** Replaces the token of a kubeconfig `inFiles`, as the kubelet replaces a pod's. */
  async renewToken(path: string, account: ServiceAccountName, options: TokenOptions = {}): Promise<void> {
    await this.#identities.renewToken(path, account, options);
  }

  /** Ends the API server; the data stays. Resolves when its process is gone. */
  async stopApiServer({ signal = 'SIGTERM' }: StopOptions = {}): Promise<void> {
    await this.#components.get('kube-apiserver')?.end(signal);
  }

  /**
   * Starts the API server again, at the same address and with the same data, and from then on with these flags after all others.
   */
  async startApiServer({ extraArgs }: { readonly extraArgs?: readonly string[] } = {}): Promise<void> {
    this.#extraApiServerArgs = extraArgs ?? this.#extraApiServerArgs;
    if (this.#components.get('kube-apiserver')?.hasExited === false) return;
    this.#launchApiServer();
    await this.#untilApiServerIsReady();
  }

  /** Stops etcd. The API server keeps running and fails its requests. */
  async stopEtcd({ signal = 'SIGTERM' }: StopOptions = {}): Promise<void> {
    await this.#components.get('etcd')?.end(signal);
  }

  /** Starts etcd again with the same data. The API server connects again by itself: `untilReady` waits for that. */
  async startEtcd(): Promise<void> {
    if (this.#components.get('etcd')?.hasExited === false) return;
    this.#launch('etcd', etcdArguments(this.directory, this.#files, this.#options.etcdQuotaBytes));
    await this.#until('etcd', () => canConnect({ path: this.#files.etcdSocket }));
  }

  /** Until the API server answers `/readyz`, for instance after etcd came back. */
  async untilReady(): Promise<void> {
    await this.#untilApiServerIsReady();
  }

  /** Saves all data to a file for `restoreSnapshot`. Returns its path. */
  async saveSnapshot(): Promise<string> {
    const path = join(this.directory, `${randomUUID()}.snapshot`);
    await this.#etcd.saveSnapshot(path);
    return path;
  }

  /**
   * Stops everything, replaces the data by the snapshot, and starts everything again, as an administrator does.
   * Without `bumpRevision` resource versions go back too, and are used a second time for other changes.
   */
  async restoreSnapshot(path: string, options: { readonly bumpRevision?: number } = {}): Promise<void> {
    await this.#stopControllers();
    await this.stopApiServer();
    await this.stopEtcd();
    await this.#etcd.restoreSnapshot(path, options.bumpRevision);
    await this.startEtcd();
    await this.startApiServer();
    await this.#startControllers();
  }

  /** Fills etcd up to its quota: every write to the API server fails until `freeEtcd`. Start with a small `etcdQuotaBytes`. */
  async fillEtcd(): Promise<void> {
    await this.#etcd.fill();
  }

  /** Undoes `fillEtcd`. Earlier versions are compacted: watches resumed at an old version get 410. */
  async freeEtcd(): Promise<void> {
    await this.#etcd.free();
  }

  /**
   * Replaces the CA and the API server's certificate, and restarts what runs. Kubeconfigs made before hold the old CA: their
   * clients fail. `trustFile` gets both CAs first, or with `announce: false` keeps the old one until `publishAuthority`.
   * Client certificates of the old CA stay good.
   */
  async rotateAuthority({ announce = true }: { readonly announce?: boolean } = {}): Promise<void> {
    const [previous, next] = [this.#identities.authority, await createAuthority(new Date())];
    this.#identities.replaceAuthority(next);
    if (announce) await this.#identities.publishTrust([previous, next]);
    await this.#stopControllers();
    await this.stopApiServer();
    await writeServingFiles(this.#files, next, [previous, next], addressesOf(this.#options));
    await this.startApiServer();
    await this.#identities.writeAdminKubeconfig(this.kubeconfig);
    await this.#startControllers();
  }

  /** Leaves only the current CA in `trustFile`. */
  async publishAuthority(): Promise<void> {
    await this.#identities.publishTrust([this.#identities.authority]);
  }

  /** What the API server logged by the rules of the option `audit`, in the order in which it answered. */
  async auditLog(): Promise<readonly AuditEvent[]> {
    return await readAuditLog(auditLogPath(this.directory));
  }

  /**
   * Waits until the API server itself lets the user do this, or no longer does: it learns of roles and bindings as any other client
   * does, a moment after they were written. `request` as `kubectl auth can-i` takes it.
   */
  async untilMay(isAllowed: boolean, user: string, ...request: readonly string[]): Promise<void> {
    const ask = ['auth', 'can-i', ...request, `--as=${user}`];
    await eventually(`${user} ${isAllowed ? 'may' : 'may not'} ${request.join(' ')}`, async () => {
      // kubectl ends with status 1 where the answer is no.
      const { stdout } = await this.kubectl(ask).catch((error: unknown) => {
        if (error instanceof CommandFailedError && error.stdout.trim() === 'no') return error;
        throw error;
      });
      return (stdout.trim() === 'yes') === isAllowed || undefined;
    });
  }

  /**
   * Waits until the API server decides by all roles and bindings that were written, and by none that was deleted: by two that are written
   * now, of which it learns after all others.
   */
  async untilRolesHold(): Promise<void> {
    const name = `last-${randomUUID()}`;
    const what = ['configmaps', `--resource-name=${name}`];
    const kinds = ['role', 'rolebinding', 'clusterrole', 'clusterrolebinding'];
    for (const scope of ['', 'cluster']) {
      await this.kubectl(['create', `${scope}role`, name, '--verb=get', '--resource', ...what]);
      await this.kubectl(['create', `${scope}rolebinding`, name, `--${scope}role=${name}`, `--user=${scope}${name}`]);
    }
    for (const scope of ['', 'cluster']) await this.untilMay(true, `${scope}${name}`, 'get', `configmaps/${name}`);
    for (const kind of kinds) await this.kubectl(['delete', kind, name]);
  }

  /**
   * Waits until the kinds of these CRDs, or of all that there are, are served to every client: to kubectl and helm a kind is listed a moment
   * after it is Established.
   */
  async untilServed(...crds: readonly string[]): Promise<void> {
    const all = crds.length > 0 ? crds : (await this.kubectl(['get', 'crd', '-o', 'name'])).stdout.trim().split('\n');
    const names = all.map((name) => name.replace(/^.*\//, ''));
    const wait = ['wait', '--for=condition=Established', '--timeout=4m'];
    await this.kubectl([...wait, ...names.map((name) => `crd/${name}`)]);
    for (const name of names) {
      await eventually(`${name} to be served`, () =>
        this.kubectl(['get', name, '-A']).then(
          () => true,
          () => undefined,
        ),
      );
    }
  }

  /**
   * Deletes a CRD with its objects, where it is there; not before its kind is served. An API server that still prepares the storage of a
   * kind fails to delete its objects (`storage is (re)initializing`), and tries again after five minutes: Kubernetes 1.37 has no other event.
   */
  async deleteCrd(name: string): Promise<void> {
    const { stdout } = await this.kubectl(['get', 'crd', name, '--ignore-not-found', '-o', 'name']);
    if (stdout.trim() === '') return;
    await this.untilServed(name);
    await this.kubectl(['delete', 'crd', name]);
  }

  /** Ends every component and removes the folder. May be called again. */
  async stop(): Promise<void> {
    await this.#guardian.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #binary(name: BinaryName): string {
    const binary = this.#binaries[name];
    if (binary === undefined) throw new ControlPlaneError(`no binary for ${name}`);
    return binary;
  }

  #launch(name: ComponentName, args: readonly string[]): void {
    const component = this.#guardian.startComponent({
      name,
      binary: this.#binary(name),
      args: [...args, ...this.#featureGates(name), ...this.#extraArgs(name)],
      env: { GOGC: process.env['GOGC'] ?? RARE_COLLECTIONS },
    });
    this.#components.set(name, component);
  }

  #extraArgs(name: ComponentName): readonly string[] {
    const args = this.#options.extraArgs?.[name] ?? [];
    return name === 'kube-apiserver' ? [...this.#audit, ...args, ...this.#extraApiServerArgs] : args;
  }

  #featureGates(name: ComponentName): readonly string[] {
    const gates = Object.entries(this.#options.featureGates ?? {});
    if (gates.length === 0 || name === 'etcd') return [];
    return [`--feature-gates=${gates.map(([gate, on]) => `${gate}=${on}`).join(',')}`];
  }

  #launchApiServer(): void {
    const args = apiServerArguments(this.#files, {
      port: this.#port,
      ...addressesOf(this.#options),
      hasControllerManager: this.#options.controllerManager === true,
    });
    this.#launch('kube-apiserver', args);
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

  async #startControllers(): Promise<void> {
    if (this.#options.controllerManager === true) await this.#startControllerManager();
    if (this.#options.scheduler !== true) return;
    const config = await this.kubeconfigFor({ user: 'system:kube-scheduler' });
    this.#launch('kube-scheduler', schedulerArguments(config));
  }

  async #stopControllers(): Promise<void> {
    await this.#components.get('kube-controller-manager')?.end('SIGTERM');
    await this.#components.get('kube-scheduler')?.end('SIGTERM');
  }

  async #startControllerManager(): Promise<void> {
    const config = await this.kubeconfigFor({ user: 'system:kube-controller-manager', groups: ['system:masters'] });
    this.#launch(
      'kube-controller-manager',
      controllerManagerArguments(this.#files, config, { hasScheduler: this.#options.scheduler === true }),
    );
    // It serves no health check here. Its first visible work is the service account, which a pod needs first.
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

  async #uidOf({ name, namespace }: ServiceAccountName): Promise<string> {
    const query = ['get', 'serviceaccount', name, `--namespace=${namespace}`, '-o', 'jsonpath={.metadata.uid}'];
    return (await this.kubectl(query)).stdout;
  }

  #runTool(name: 'kubectl' | 'helm', args: readonly string[], options: ToolOptions): Promise<Output> {
    const home = join(this.directory, 'home');
    const { kubeconfig: config = this.kubeconfig, env, ...rest } = options;
    return run(this.#binary(name), args, {
      ...rest,
      // The user's own settings and caches must not affect a test.
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

function addressesOf({
  bindAddress = '127.0.0.1',
  serviceRange = DEFAULT_SERVICE_RANGE,
}: ControlPlaneOptions): Addresses {
  return { bindAddress, serviceRange };
}
