import { join } from 'node:path';
import { BinariesError, type EnsureOptions, ensureBuilt, type GoModule } from '../controlplane/go-module.ts';

/** Where each binary comes from in this folder's Go module. */
const CONTAINERD_PACKAGES = {
  containerd: 'github.com/containerd/containerd/v2/cmd/containerd',
  'containerd-shim-runc-v2': 'github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2',
  ctr: 'github.com/containerd/containerd/v2/cmd/ctr',
} as const;

type ContainerdName = keyof typeof CONTAINERD_PACKAGES;

const CONTAINERD: GoModule<ContainerdName> = {
  name: 'node',
  directory: import.meta.dirname,
  packages: CONTAINERD_PACKAGES,
  flags: (goMod) => {
    const version = /github\.com\/containerd\/containerd\/v2 (v\d+\.\d+\.\d+)/.exec(goMod)?.[1];
    if (version === undefined) throw new BinariesError('testing/node/go.mod does not require containerd');
    const setting = `-X github.com/containerd/containerd/v2/version.Version=${version}`;
    // Without the snapshotters that need libraries or kernel modules.
    return ['-tags', 'no_btrfs,no_devmapper,no_zfs', '-ldflags', `-s -w ${setting}`];
  },
  instead: '',
};

/** CoreDNS is in a separate module: its requirements and containerd's exclude each other. */
const DNS: GoModule<'dns'> = {
  name: 'dns',
  directory: join(import.meta.dirname, 'dns'),
  packages: { dns: '.' },
  sources: ['main.go'],
  flags: () => ['-ldflags', '-s -w'],
  instead: '',
};

export interface NodeBinaries {
  /** The folder of containerd, its shim and ctr. */
  readonly containerd: string;
  /** The name server. */
  readonly dns: string;
}

/** The binaries of a node that Kubernetes itself does not bring; they are built first where they are missing (two minutes). */
export async function ensureNodeBinaries(options: EnsureOptions = {}): Promise<NodeBinaries> {
  const containerd = await ensureBuilt(CONTAINERD, Object.keys(CONTAINERD_PACKAGES) as ContainerdName[], options);
  return { containerd, dns: join(await ensureBuilt(DNS, ['dns'], options), 'dns') };
}
