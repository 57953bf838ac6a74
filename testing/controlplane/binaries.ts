import { join } from 'node:path';
import { type DownloadedOptions, downloadedBinaries } from './downloaded.ts';
import {
  BinariesError,
  builtBinaries,
  type EnsureOptions,
  ensureBuilt,
  type GoModule,
  isExecutable,
} from './go-module.ts';

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

/** The version that the binaries report is the one that go.mod requires. */
export function kubernetesFlags(goMod: string): readonly string[] {
  const version = /^(?:require)?\s*k8s\.io\/kubernetes (v(\d+)\.(\d+)\.\d+)(?: |$)/m.exec(goMod);
  if (version === null) throw new BinariesError('expected a go.mod that requires k8s.io/kubernetes');
  const [, full, major, minor] = version;
  const variables = Object.entries({ gitVersion: full, gitMajor: major, gitMinor: minor });
  const settings = variables.map(([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`);
  return ['-ldflags', ['-s', '-w', ...settings].join(' ')];
}

const MODULE: GoModule<BinaryName> = {
  name: 'controlplane',
  directory: import.meta.dirname,
  packages: PACKAGES,
  flags: kubernetesFlags,
  instead:
    'Or build nothing: fill a folder with setup-envtest and name it in KUBEBUILDER_ASSETS (testing/controlplane/README.md).',
};

export interface BinariesOptions extends EnsureOptions, Pick<DownloadedOptions, 'releases' | 'ca'> {}

/**
 * The paths of the named binaries: from `KUBEBUILDER_ASSETS` where that folder has them, else from the user's cache, where they
 * were built or downloaded before. What is missing there is downloaded (seconds), and built (minutes) where it cannot be. Any
 * number of processes may call it at once: one works, the others wait for it. Throws BinariesError.
 */
export async function ensureBinaries<Name extends BinaryName>(
  names: readonly Name[],
  options: BinariesOptions = {},
): Promise<Readonly<Record<Name, string>>> {
  const env = options.env ?? process.env;
  const assets = env['KUBEBUILDER_ASSETS'];
  const paths = new Map<string, string>();
  const left = () => names.filter((name) => !paths.has(name));
  if (assets !== undefined && assets !== '') {
    for (const name of names) if (await isExecutable(join(assets, name))) paths.set(name, join(assets, name));
  }
  // Built ones first: where binaries were built, nothing is downloaded.
  const built = new Set(await builtBinaries(MODULE, left(), env));
  const downloadable = left().filter((name) => !built.has(name));
  for (const [name, path] of await downloadedBinaries(downloadable, options)) paths.set(name, path);
  const cache = await ensureBuilt(MODULE, left(), options);
  return Object.fromEntries(names.map((name) => [name, paths.get(name) ?? join(cache, name)])) as Record<Name, string>;
}
