import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Network } from './network.ts';

/** The configuration of each of the node's programs. JSON is YAML too. */

/** The kubelet starts it in every sandbox; it comes from `images.ts`. */
export const PAUSE_IMAGE = 'localhost/pause:1';
const CLUSTER_DOMAIN = 'cluster.local';
export const CONTAINERD_SOCKET = '/run/containerd/containerd.sock';

export interface NodeFiles {
  readonly containerd: string;
  readonly kubelet: string;
  readonly kubeProxy: string;
  readonly dns: string;
}

export interface NodeFacts {
  readonly directory: string;
  readonly network: Network;
  readonly cgroup: string;
  /** Path of the CA of the API server's clients. */
  readonly authority: string;
  readonly kubeProxyKubeconfig: string;
  readonly dnsKubeconfig: string;
}

export async function writeNodeFiles(facts: NodeFacts): Promise<NodeFiles> {
  const { directory } = facts;
  const files = {
    containerd: join(directory, 'containerd.toml'),
    kubelet: join(directory, 'kubelet.json'),
    kubeProxy: join(directory, 'kube-proxy.json'),
    dns: join(directory, 'Corefile'),
  };
  const cni = join(directory, 'cni.conflist');
  await writeFile(cni, JSON.stringify(networkConfiguration(facts.network)));
  await writeFile(files.containerd, containerdConfiguration(directory));
  await writeFile(files.kubelet, JSON.stringify(kubeletConfiguration(facts)));
  await writeFile(files.kubeProxy, JSON.stringify(kubeProxyConfiguration(facts)));
  await writeFile(files.dns, dnsConfiguration(facts));
  return files;
}

function networkConfiguration(network: Network): object {
  const ipam = {
    type: 'host-local',
    ranges: [[{ subnet: network.pods }]],
    routes: [{ dst: '0.0.0.0/0' }],
  };
  // No masquerading: the machine has a route to the pods, and they reach no host beyond it.
  const bridge = { type: 'bridge', bridge: 'pods0', isGateway: true, hairpinMode: true, ipam };
  return { cniVersion: '1.0.0', name: 'pods', plugins: [bridge] };
}

function containerdConfiguration(directory: string): string {
  // `restrict_oom_score_adj`: a root without CAP_SYS_RESOURCE may not make a process less likely to be killed than itself.
  return `version = 3
root = ${JSON.stringify('/var/lib/containerd')}
state = '/run/containerd'
disabled_plugins = ['io.containerd.internal.v1.opt']
[grpc]
  address = '${CONTAINERD_SOCKET}'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['/usr/lib/cni']
    conf_dir = ${JSON.stringify(directory)}
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = false
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '${PAUSE_IMAGE}'
[plugins.'io.containerd.nri.v1.nri']
  disable = true
`;
}

function kubeletConfiguration({ authority, cgroup, network }: NodeFacts): object {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: false },
      x509: { clientCAFile: authority },
    },
    authorization: { mode: 'AlwaysAllow' },
    containerRuntimeEndpoint: `unix://${CONTAINERD_SOCKET}`,
    cgroupDriver: 'cgroupfs',
    cgroupRoot: `/${cgroup}`,
    failCgroupV1: false,
    failSwapOn: false,
    enforceNodeAllocatable: [],
    clusterDNS: [network.nodeAddress],
    clusterDomain: CLUSTER_DOMAIN,
    resolvConf: '',
    volumePluginDir: '/var/lib/kubelet/volume-plugins',
    // The machine's disk and memory are not the node's own: how full they are is no reason to evict a pod.
    evictionHard: { 'memory.available': '1Mi', 'nodefs.available': '0%', 'imagefs.available': '0%' },
    imageGCHighThresholdPercent: 100,
  };
}

function kubeProxyConfiguration({ kubeProxyKubeconfig, network }: NodeFacts): object {
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode: 'nftables',
    clientConnection: { kubeconfig: kubeProxyKubeconfig },
    clusterCIDR: network.pods,
    // The tables of the whole machine stay as they are.
    conntrack: { maxPerCore: 0 },
    // A pod that meets another of the same bridge by way of a Service must get its answer by the same way.
    nftables: { masqueradeAll: true },
  };
}

/** Resolves the names of Services only: there is no server for other names, and a pod must be refused them at once. */
function dnsConfiguration({ dnsKubeconfig, network }: NodeFacts): string {
  return `${CLUSTER_DOMAIN}:53 {
  bind ${network.nodeAddress}
  errors
  kubernetes ${CLUSTER_DOMAIN} {
    kubeconfig ${JSON.stringify(dnsKubeconfig)}
  }
}
.:53 {
  bind ${network.nodeAddress}
  template ANY ANY {
    rcode NXDOMAIN
  }
}
`;
}
