/** What is expected of the Secrets that were issued in the namespace `edge`. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import type { Cluster, Secret } from '../../testing/cluster/cluster.ts';
import type { LeafFiles } from '../../testing/support/certificates.ts';
import { eventually } from '../../testing/support/processes.ts';
import { assertServes, file } from './verification.ts';

/** Asserts a whole pair on this leaf, valid now, without the certificate's key. */
export function check(secret: Secret, leaf: LeafFiles, now = Date.now() / 1000): void {
  assertServes(secret, 'Server', Math.floor(now));
  assert.equal(file(secret, 'tls.crt').toString(), leaf.certificatePem);
  assert.equal(secret.data?.['tls.key'], undefined);
}

export const annotation = ({ metadata }: Secret, key: string) => metadata.annotations?.[`dcred.dev/${key}`] ?? '';
export const uidsOf = (secrets: readonly Secret[]) => new Set(secrets.map(({ metadata }) => metadata.uid));

/** As the annotations of Secrets and the status of resources name a leaf. */
export function sha256Of({ certificatePem }: LeafFiles): string {
  return new X509Certificate(certificatePem).fingerprint256.replaceAll(':', '').toLowerCase();
}

export async function untilAllOn(cluster: Cluster, leaf: LeafFiles, count: number): Promise<readonly Secret[]> {
  return await untilAll(cluster, `${count} credentials on the leaf`, count, 'certificate-sha256', sha256Of(leaf));
}

/** Resolves once the Secrets are marked to be deleted when the grant is withdrawn. */
export async function untilTheyGoWithTheGrant(cluster: Cluster, count: number): Promise<void> {
  await untilAll(cluster, `${count} credentials that go with the grant`, count, 'on-withdraw', 'Delete');
}

async function untilAll(
  cluster: Cluster,
  what: string,
  count: number,
  key: string,
  value: string,
): Promise<readonly Secret[]> {
  return await eventually(what, async () => {
    const secrets = await cluster.secrets('edge');
    const agree = secrets.length === count && secrets.every((secret) => annotation(secret, key) === value);
    return agree ? secrets : undefined;
  });
}
