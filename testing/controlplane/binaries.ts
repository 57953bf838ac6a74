import { join } from 'node:path';
import { BinariesError, type EnsureOptions, ensureBuilt, type GoModule, isExecutable } from './go-module.ts';

/** Where each binary comes from in this folder's Go module. */
const PACKAGES = {
  etcd: 'go.etcd.io/etcd/server/v3',
  etcdctl: 'go.etcd.io/etcd/etcdctl/v3',
  etcdutl: 'go.etcd.io/etcd/etcdutl/v3',
  'kube-apiserver': 'k8s.io/kubernetes/cmd/kube-apiserver',
  'kube-controller-manager': 'k8s.io/kubernetes/cmd/kube-controller-manager',
  'kube-scheduler': 'k8s.io/kubernetes/cmd/kube-scheduler',
  kubelet: 'k8s.io/kubernetes/cmd/kubelet',
  'kube-proxy': 'k8s.io/kubernetes/cmd/kube-proxy',
  kubectl: 'k8s.io/kubernetes/cmd/kubectl',
  helm: 'helm.sh/helm/v4/cmd/helm',
} as const;

export type BinaryName = keyof typeof PACKAGES;

const MODULE: GoModule<BinaryName> = {
  name: 'controlplane',
  directory: import.meta.dirname,
  packages: PACKAGES,
  flags: (goMod) => {
    const version = /^\s*k8s\.io\/kubernetes (v(\d+)\.(\d+)\.\d+)(?: |$)/m.exec(goMod);
    if (version === null) throw new BinariesError('testing/controlplane/go.mod does not require k8s.io/kubernetes');
    const [, full, major, minor] = version;
    const variables = Object.entries({ gitVersion: full, gitMajor: major, gitMinor: minor });
    const settings = variables.map(([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`);
    return ['-ldflags', ['-s', '-w', ...settings].join(' ')];
  },
  instead:
    'Or build nothing: fill a folder with setup-envtest and name it in KUBEBUILDER_ASSETS (testing/controlplane/README.md).',
};

/**
 * The paths of the named binaries: from `KUBEBUILDER_ASSETS` where that folder has them, else from the user's cache,
 * into which whatever is missing is built first. The first build of all takes minutes, later calls a millisecond.
 * Any number of processes may call it at once: one builds, the others wait for it. Throws BinariesError.
 */
export async function ensureBinaries<Name extends BinaryName>(
  names: readonly Name[],
  options: EnsureOptions = {},
): Promise<Readonly<Record<Name, string>>> {
  const assets = (options.env ?? process.env)['KUBEBUILDER_ASSETS'];
  const given = new Map<Name, string>();
  if (assets !== undefined && assets !== '') {
    for (const name of names) if (await isExecutable(join(assets, name))) given.set(name, join(assets, name));
  }
  const cache = await ensureBuilt(
    MODULE,
    names.filter((name) => !given.has(name)),
    options,
  );
  return Object.fromEntries(names.map((name) => [name, given.get(name) ?? join(cache, name)])) as Record<Name, string>;
}
