import { BinariesError, type EnsureOptions, ensureBuilt, type GoModule } from '../controlplane/go-module.ts';

/** Where each binary comes from in this folder's Go module. */
const PACKAGES = {
  containerd: 'github.com/containerd/containerd/v2/cmd/containerd',
  'containerd-shim-runc-v2': 'github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2',
  ctr: 'github.com/containerd/containerd/v2/cmd/ctr',
} as const;

const NAMES = Object.keys(PACKAGES) as readonly (keyof typeof PACKAGES)[];

const MODULE: GoModule<keyof typeof PACKAGES> = {
  name: 'node',
  directory: import.meta.dirname,
  packages: PACKAGES,
  flags: (goMod) => {
    const version = /github\.com\/containerd\/containerd\/v2 (v\d+\.\d+\.\d+)/.exec(goMod)?.[1];
    if (version === undefined) throw new BinariesError('test/node/go.mod does not require containerd');
    const setting = `-X github.com/containerd/containerd/v2/version.Version=${version}`;
    // Snapshotters that need libraries or kernel modules which no test uses.
    return ['-tags', 'no_btrfs,no_devmapper,no_zfs', '-ldflags', `-s -w ${setting}`];
  },
  instead: '',
};

/** The folder that holds containerd, its shim and ctr; they are built first where they are missing (a minute). */
export function ensureContainerd(options: EnsureOptions = {}): Promise<string> {
  return ensureBuilt(MODULE, NAMES, options);
}
