import { access, constants } from 'node:fs/promises';
import { ensurePackages } from '../support/debian.ts';

const PACKAGES = {
  runc: 'runc',
  nft: 'nftables',
  conntrack: 'conntrack',
  ip: 'iproute2',
  iptables: 'iptables',
  nsenter: 'util-linux',
  '/usr/lib/cni/bridge': 'containernetworking-plugins',
  '/bin/busybox': 'busybox-static',
  gcc: 'gcc',
  '/usr/include/stdio.h': 'libc6-dev',
} as const;

export type NodeSupport = { readonly available: true } | { readonly available: false; readonly reason: string };

/** Whether this machine can run a node, and why not; what it needs from Debian is installed first. */
export async function findNodeSupport(): Promise<NodeSupport> {
  const reason = (await obstacle()) ?? (await installed());
  return reason === undefined ? { available: true } : { available: false, reason };
}

async function obstacle(): Promise<string | undefined> {
  if (process.platform !== 'linux') return `a node needs Linux, and this is ${process.platform}`;
  if (process.getuid?.() !== 0) return 'a node needs root: its containers have namespaces, mounts and control groups';
  const isWritable = await access('/sys/fs/cgroup', constants.W_OK).then(
    () => true,
    () => false,
  );
  return isWritable ? undefined : 'a node needs control groups, and /sys/fs/cgroup cannot be written here';
}

function installed(): Promise<string | undefined> {
  return ensurePackages({ needs: Object.keys(PACKAGES), packages: Object.values(PACKAGES) });
}
