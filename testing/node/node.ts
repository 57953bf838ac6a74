import { Resolver } from 'node:dns/promises';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureBinaries } from '../controlplane/binaries.ts';
import { type ControlPlane, startControlPlane } from '../controlplane/control-plane.ts';
import type { ControlPlaneOptions } from '../controlplane/options.ts';
import { type Component, Guardian } from '../support/guardian.ts';
import { eventually, type Output, type RunOptions } from '../support/processes.ts';
import { ensureNodeBinaries } from './binaries.ts';
import { CONTAINERD_SOCKET, writeNodeFiles } from './components.ts';
import { pauseImage } from './images.ts';
import { Namespaces } from './namespaces.ts';
import { createNetwork, type Network } from './network.ts';

export type NodeOptions = Omit<ControlPlaneOptions, 'bindAddress' | 'controllerManager' | 'scheduler' | 'serviceRange'>;

/** A component of the node did not start; the end of its log is in the message. */
class NodeError extends Error {
  readonly code = 'Node';
  override readonly name = 'NodeError';
}

const NODE_NAME = 'node';
const START_TIMEOUT_MS = 600_000;
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * Starts a control plane and one real node: containerd, kubelet, kube-proxy and a name server for Services, ready for pods. Needs what
 * `findNodeSupport` checks for. Any number run side by side. `stop`, or the end of this process in any way, removes all of it.
 *
 *     this machine                                             namespaces of the node
 *     etcd, kube-apiserver, controllers, scheduler --- veth --- containerd, kubelet, kube-proxy, CoreDNS, pods
 *
 * Pods and Services answer on this machine as they do on the node: it has a route to them.
 */
export async function startNode(options: NodeOptions = {}): Promise<Node> {
  const progress = options.onProgress === undefined ? {} : { onProgress: options.onProgress };
  const kubernetes = await ensureBinaries(['kubelet', 'kube-proxy'], progress);
  const { containerd, dns } = await ensureNodeBinaries(progress);
  const guardian = await Guardian.start('node');
  let plane: ControlPlane | undefined;
  try {
    const namespaces = await Namespaces.create(guardian, `${containerd}:${SYSTEM_PATH}`);
    const network = await createNetwork(namespaces);
    await namespaces.nameHost(NODE_NAME, network.nodeAddress);
    plane = await startControlPlane({
      ...options,
      controllerManager: true,
      scheduler: true,
      bindAddress: network.hostAddress,
      serviceRange: network.services,
    });
    const node = new Node(plane, network, guardian, namespaces);
    await node.start({ containerd: join(containerd, 'containerd'), dns, ...kubernetes });
    return node;
  } catch (error) {
    await plane?.stop();
    await guardian.stop();
    throw error;
  }
}

type Binaries = Readonly<Record<'containerd' | 'dns' | 'kubelet' | 'kube-proxy', string>>;

export class Node {
  readonly name = NODE_NAME;
  readonly plane: ControlPlane;
  readonly network: Network;
  /** Holds a log for each component of the node: `<component>.log`. */
  readonly directory: string;
  readonly #guardian: Guardian;
  readonly #namespaces: Namespaces;

  constructor(plane: ControlPlane, network: Network, guardian: Guardian, namespaces: Namespaces) {
    this.plane = plane;
    this.network = network;
    this.directory = guardian.directory;
    this.#guardian = guardian;
    this.#namespaces = namespaces;
  }

  /** For `startNode` only. */
  async start(binaries: Binaries): Promise<void> {
    const { plane } = this;
    const authority = join(this.directory, 'ca.crt');
    await writeFile(authority, plane.certificateAuthority);
    const kubeletKubeconfig = await plane.kubeconfigFor({ user: `system:node:${this.name}`, groups: ['system:nodes'] });
    const files = await writeNodeFiles({
      directory: this.directory,
      network: this.network,
      cgroup: this.#namespaces.cgroup,
      authority,
      kubeProxyKubeconfig: await plane.kubeconfigFor({ user: 'system:kube-proxy' }),
      dnsKubeconfig: await plane.kubeconfigFor({ user: 'dns', groups: ['system:masters'] }),
    });
    const containerd = this.#namespaces.startComponent('containerd', [
      binaries.containerd,
      '--config',
      files.containerd,
    ]);
    await this.#until('containerd answers', containerd, () =>
      this.#ctr(['version']).then(
        () => true,
        () => false,
      ),
    );
    await this.importImage(await pauseImage());
    const dns = this.#namespaces.startComponent('dns', [binaries.dns, '-conf', files.dns]);
    const name = `--hostname-override=${this.name}`;
    this.#namespaces.startComponent('kube-proxy', [binaries['kube-proxy'], `--config=${files.kubeProxy}`, name]);
    const kubelet = this.#namespaces.startComponent('kubelet', [
      binaries.kubelet,
      `--config=${files.kubelet}`,
      `--kubeconfig=${kubeletKubeconfig}`,
      name,
    ]);
    await this.#until('the node is ready', kubelet, () => this.#isReady());
    await this.#until('the name server answers', dns, () => this.#answersNames());
  }

  /** Imports the images of a docker-archive, given as a path or its bytes. Pods use `imagePullPolicy: Never`. */
  async importImage(archive: string | Uint8Array): Promise<void> {
    if (typeof archive === 'string') {
      await this.#ctr(['images', 'import', '--local', archive]);
      return;
    }
    await this.#ctr(['images', 'import', '--local', '-'], { input: archive });
  }

  /** Runs a command on the node, in its namespaces. */
  run(command: readonly string[], options: RunOptions = {}): Promise<Output> {
    return this.#namespaces.run(command, options);
  }

  /** Stops the node and its control plane, and removes everything of theirs. May be called again. */
  async stop(): Promise<void> {
    await this.#guardian.stop();
    await this.plane.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #ctr(words: readonly string[], options: RunOptions = {}): Promise<Output> {
    return this.run(['ctr', '--address', CONTAINERD_SOCKET, '--namespace', 'k8s.io', ...words], options);
  }

  async #isReady(): Promise<boolean> {
    const ready = '{.status.conditions[?(@.type=="Ready")].status}/{.spec.taints}';
    const answer = await this.plane
      .kubectl(['get', 'node', this.name, '--output', `jsonpath=${ready}`])
      .catch(() => undefined);
    return answer?.stdout === 'True/';
  }

  async #answersNames(): Promise<boolean> {
    const resolver = new Resolver({ timeout: 10_000, tries: 1 });
    resolver.setServers([this.network.nodeAddress]);
    return resolver.resolve4('kubernetes.default.svc.cluster.local').then(
      () => true,
      () => false,
    );
  }

  /** Waits for a component. Rejects at once when it ends. */
  async #until(what: string, component: Component, probe: () => Promise<boolean>): Promise<void> {
    const failure = async (how: string, cause?: unknown) =>
      new NodeError(`${what}: ${how}. The end of ${component.name}'s log:\n${await component.logTail()}`, { cause });
    const answer = async () => {
      if (component.hasExited) throw await failure(`${component.name} ended`);
      return (await probe()) ? true : undefined;
    };
    await eventually(what, answer, { timeoutMs: START_TIMEOUT_MS, intervalMs: 100 }).catch(async (cause: unknown) => {
      if (cause instanceof NodeError) throw cause;
      throw await failure(`was not ready after ${START_TIMEOUT_MS / 1_000} s`, cause);
    });
  }
}
