import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { SERVER_IMAGE, serverImage } from '../../testing/node/images.ts';
import { type Node, type NodeOptions, startNode } from '../../testing/node/node.ts';
import { findPeers } from '../../testing/peers/peers.ts';
import type { LeafFiles } from '../../testing/support/certificates.ts';
import { CHART, NAMESPACE, ROOT } from '../chart/chart.ts';
import { createRestrictedNamespaces } from '../chart/cluster.ts';
import { list, podSpec } from './workloads.ts';

/** The namespace of the tests' own pods; `restricted`, as dcred's is. */
export const SHOP = 'shop';
export const SERVER_PORT = 8443;

const IMAGE = join(ROOT, 'dist', 'image.tar');

/** How dcred is installed where it differs from the defaults. */
export interface Release {
  readonly values: object;
  /** Creates what must exist before the chart is installed. */
  readonly prepare: (node: Node) => Promise<void>;
}

/** A node with dcred installed on it from its chart and its image, and the image of the BoringSSL server. */
export async function startNodeWithDcred(options: NodeOptions = {}, release?: Release): Promise<Node> {
  if (!existsSync(IMAGE)) throw new Error('dist/image.tar is not there: run "make e2e", or "make image" first');
  const peers = await findPeers();
  if (!peers.available) throw new Error(peers.reason);
  const node = await startNode(options);
  try {
    await node.importImage(IMAGE);
    await node.importImage(await serverImage(peers.serverBinary));
    await createRestrictedNamespaces(node.plane, [NAMESPACE, SHOP]);
    await release?.prepare(node);
    const install = ['install', 'dcred', CHART, '--namespace', NAMESPACE, '--wait', '--timeout', '5m', '--values', '-'];
    await node.plane.helm(install, { timeoutMs: 6 * 60_000, input: JSON.stringify(release?.values ?? {}) });
    return node;
  } catch (error) {
    await node.stop();
    throw error;
  }
}

export interface FailedMount {
  readonly podName: string;
  readonly message: string;
  /** The kubelet looked for a Secret that was not there. A busy one also waits for its own watches, or for permission to read. */
  readonly isSecretMissing: boolean;
}

/** The FailedMount Events in the namespace of the tests' own pods. */
export async function failedMounts({ plane }: Node): Promise<readonly FailedMount[]> {
  const words = ['get', 'events', '--namespace', SHOP, '--field-selector=reason=FailedMount', '--output', 'json'];
  const { items } = JSON.parse((await plane.kubectl(words)).stdout) as {
    readonly items: readonly { readonly involvedObject: { readonly name: string }; readonly message: string }[];
  };
  return items.map(({ involvedObject, message }) => ({
    podName: involvedObject.name,
    message,
    isSecretMissing: /\bsecrets? "[^"]*" not found/.test(message),
  }));
}

/** Runs the BoringSSL server on the files of an issued Secret; its input stays open, or it would end. */
export function serverSpec(directory: string, mount?: { readonly secretName: string }): object {
  const container = {
    name: 'server',
    image: SERVER_IMAGE,
    args: [directory, '--port', String(SERVER_PORT)],
    port: SERVER_PORT,
    stdin: true,
  };
  if (mount === undefined) return podSpec(container);
  const volume = { name: 'credential', secret: { secretName: mount.secretName } };
  return podSpec({ ...container, volumeMounts: [{ name: 'credential', mountPath: directory, readOnly: true }] }, [
    volume,
  ]);
}

/** The Secret `<name>-tls`, and a DelegatedCredential of this name that refers to it. */
export function credentialObjects(name: string, leaf: LeafFiles, spec: object = {}): string {
  return list(certificateSecret(name, leaf), resource(name, { certificateRef: { name: `${name}-tls` }, ...spec }));
}

export function certificateSecret(name: string, leaf: LeafFiles): object {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: `${name}-tls` },
    type: 'kubernetes.io/tls',
    stringData: { 'tls.crt': leaf.certificatePem, 'tls.key': leaf.keyPem },
  };
}

export function resource(name: string, spec: object): object {
  return { apiVersion: 'dcred.dev/v1alpha1', kind: 'DelegatedCredential', metadata: { name }, spec };
}
