import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Authority, createSigningKey, ownAddresses } from './certificates.ts';
import { MEMBER_ARGUMENTS } from './etcd.ts';
import { ISSUER } from './tokens.ts';

/** Written once for each control plane; the components' command lines name them. */
export interface Files {
  readonly etcdSocket: string;
  readonly authority: string;
  readonly serverCertificate: string;
  readonly serverKey: string;
  readonly adminCertificate: string;
  readonly adminKey: string;
  readonly serviceAccountKey: string;
}

export const DEFAULT_SERVICE_RANGE = '10.0.0.0/24';
const DEFAULT_ETCD_QUOTA_BYTES = 512 * 1024 * 1024;

export interface Addresses {
  /** An IPv4 range whose own address ends in .0: pods find the API server at its first address. */
  readonly serviceRange: string;
  /** Named in the certificate too, because a network interface that has just come up may not yet be listed. */
  readonly bindAddress: string;
}

export async function writeFiles(directory: string, authority: Authority, addresses: Addresses): Promise<Files> {
  const files: Files = {
    etcdSocket: join(directory, 'etcd.sock'),
    authority: join(directory, 'ca.crt'),
    serverCertificate: join(directory, 'apiserver.crt'),
    serverKey: join(directory, 'apiserver.key'),
    adminCertificate: join(directory, 'admin.crt'),
    adminKey: join(directory, 'admin.key'),
    serviceAccountKey: join(directory, 'service-account.key'),
  };
  const admin = await authority.issueClient('admin', ['system:masters']);
  await Promise.all([
    writeServingFiles(files, authority, [authority], addresses),
    writePrivate(files.adminCertificate, admin.certificate),
    writePrivate(files.adminKey, admin.key),
    writePrivate(files.serviceAccountKey, createSigningKey()),
  ]);
  return files;
}

/** The API server's own certificate, from `authority`, and the CAs that it and its clients trust. */
export async function writeServingFiles(
  files: Files,
  authority: Authority,
  trusted: readonly Authority[],
  addresses: Addresses,
): Promise<void> {
  const server = await authority.issueServer([
    'localhost',
    'kubernetes',
    'kubernetes.default',
    'kubernetes.default.svc',
    'kubernetes.default.svc.cluster.local',
    '127.0.0.1',
    addresses.bindAddress,
    addresses.serviceRange.replace(/\.0\/\d+$/, '.1'),
    ...ownAddresses(),
  ]);
  await Promise.all([
    writePrivate(files.authority, bundle(trusted)),
    writePrivate(files.serverCertificate, server.certificate),
    writePrivate(files.serverKey, server.key),
  ]);
}

export function bundle(authorities: readonly Authority[]): string {
  return authorities.map(({ certificate }) => `${certificate.trim()}\n`).join('');
}

function writePrivate(path: string, text: string): Promise<void> {
  return writeFile(path, text, { mode: 0o600 });
}

/** A Unix socket instead of ports: nothing to pick, nothing to clash. The data is thrown away, so it need not be synced. */
export function etcdArguments(
  directory: string,
  files: Files,
  quotaBytes = DEFAULT_ETCD_QUOTA_BYTES,
): readonly string[] {
  const url = `unix://${files.etcdSocket}`;
  return [
    ...MEMBER_ARGUMENTS,
    `--data-dir=${join(directory, 'etcd')}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=unix://${join(directory, 'peer.sock')}`,
    '--unsafe-no-fsync',
    `--quota-backend-bytes=${quotaBytes}`,
    '--log-level=warn',
  ];
}

export function apiServerArguments(
  files: Files,
  options: {
    readonly port: number;
    readonly bindAddress: string;
    readonly serviceRange: string;
    /** Without it nothing makes a namespace's default service account, and no pod could be created. */
    readonly hasControllerManager: boolean;
  },
): readonly string[] {
  const { port, bindAddress, hasControllerManager, serviceRange } = options;
  const isLocal = bindAddress.startsWith('127.');
  return [
    `--etcd-servers=unix://${files.etcdSocket}`,
    `--secure-port=${port}`,
    `--bind-address=${bindAddress}`,
    // The API server refuses a loopback address as its Service's endpoint, so there is none then.
    ...(isLocal
      ? [`--advertise-address=${bindAddress}`, '--endpoint-reconciler-type=none']
      : [`--advertise-address=${bindAddress === '0.0.0.0' ? (ownAddresses()[0] ?? '127.0.0.1') : bindAddress}`]),
    `--tls-cert-file=${files.serverCertificate}`,
    `--tls-private-key-file=${files.serverKey}`,
    `--client-ca-file=${files.authority}`,
    `--kubelet-client-certificate=${files.adminCertificate}`,
    `--kubelet-client-key=${files.adminKey}`,
    '--kubelet-preferred-address-types=InternalIP',
    `--service-account-issuer=${ISSUER}`,
    `--service-account-key-file=${files.serviceAccountKey}`,
    `--service-account-signing-key-file=${files.serviceAccountKey}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    ...(hasControllerManager ? [] : ['--disable-admission-plugins=ServiceAccount']),
    `--service-cluster-ip-range=${serviceRange}`,
    '--allow-privileged',
    // Otherwise a clean shutdown would wait a minute for clients that hold a watch.
    '--shutdown-watch-termination-grace-period=500ms',
  ];
}

export function controllerManagerArguments(
  files: Files,
  kubeconfig: string,
  options: { readonly hasScheduler: boolean },
): readonly string[] {
  return [
    // Every 20 s the pod garbage collector removes terminating pods that have no node: here, all of them.
    ...(options.hasScheduler ? [] : ['--controllers=*,-pod-garbage-collector-controller']),
    `--kubeconfig=${kubeconfig}`,
    '--leader-elect=false',
    '--secure-port=0',
    `--root-ca-file=${files.authority}`,
    `--service-account-private-key-file=${files.serviceAccountKey}`,
  ];
}

export function schedulerArguments(kubeconfig: string): readonly string[] {
  return [`--kubeconfig=${kubeconfig}`, '--leader-elect=false', '--secure-port=0'];
}
