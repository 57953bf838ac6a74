/** The Secret through which the replicas share one serving certificate; its type marks it as ours. */
import { COMPONENT_LABEL, PART_OF, PART_OF_LABEL, SERVING_CERTIFICATE_TYPE } from '../../api/keys.ts';
import type { KubernetesObject } from '../../kubernetes/objects.ts';
import type { SecretState } from './rotation-plan.ts';
import { type CertificateFiles, readServingCertificate } from './serving-certificate.ts';

export type ServingCertificateSecret = KubernetesObject<{
  readonly type?: string;
  readonly data?: Readonly<Record<string, string>>;
}>;

export function readSecret(
  secret: ServingCertificateSecret | undefined,
  names: readonly string[],
  now: number,
): SecretState {
  if (secret === undefined) return { kind: 'missing' };
  if (secret.type !== SERVING_CERTIFICATE_TYPE) return { kind: 'foreign' };
  const files = Object.entries(secret.data ?? {}).map(([key, text]) => [key, Buffer.from(text, 'base64').toString()]);
  const certificate = readServingCertificate(Object.fromEntries(files), names, now);
  return typeof certificate === 'string' ? { kind: 'unusable', problem: certificate } : { kind: 'usable', certificate };
}

/** @param over the Secret to replace; its labels, annotations and owners are kept */
export function certificateSecret(
  ref: { readonly namespace: string; readonly name: string },
  files: CertificateFiles,
  over: ServingCertificateSecret | undefined,
) {
  const { annotations, labels = NEW_LABELS, ownerReferences, resourceVersion, uid } = over?.metadata ?? {};
  const kept = { labels, annotations, ownerReferences, resourceVersion, uid };
  const data = Object.entries(files).map(([key, text]) => [key, Buffer.from(text).toString('base64')]);
  return {
    metadata: { ...ref, ...Object.fromEntries(Object.entries(kept).filter(([, value]) => value !== undefined)) },
    type: SERVING_CERTIFICATE_TYPE,
    data: Object.fromEntries(data) as Readonly<Record<string, string>>,
  };
}

const NEW_LABELS = Object.freeze({ [PART_OF_LABEL]: PART_OF, [COMPONENT_LABEL]: 'webhook' });
