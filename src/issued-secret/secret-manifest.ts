/** The issued Secret, whole: all of it goes out in one write, so that no reader ever sees a mixed pair. */
import { createHash } from 'node:crypto';
import {
  FIELD_MANAGER,
  ISSUED_SECRET_TYPE,
  MANAGED_BY,
  MANAGED_BY_LABEL,
  RESOURCE_LABEL,
  SECRET_ANNOTATIONS,
} from '../api/keys.ts';
import type { CredentialKey } from '../credential/credential-key.ts';
import type { DelegationCertificate } from '../credential/delegation-certificate.ts';
import { credentialFiles } from '../credential/files.ts';
import type { IssuedCredential } from '../credential/issue.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
import { formatRfc3339 } from '../text/rfc3339.ts';
import { claimFields } from './field-ownership.ts';
import type { ExtraMetadata, IssuedSecret } from './issued-secret.ts';

export interface SecretContent {
  readonly namespace: string;
  readonly name: string;
  readonly resourceName: string;
  readonly pod: { readonly name: string; readonly uid: string };
  readonly certificate: DelegationCertificate;
  readonly key: CredentialKey;
  readonly credential: IssuedCredential;
  /** Seconds since the epoch. */
  readonly renewAt: number;
  readonly template: ExtraMetadata;
  /** What becomes of it when its grant is withdrawn. Undefined: there is none, so that it stays. */
  readonly onWithdraw?: 'Keep' | 'Delete' | undefined;
  /** The Secret that this one replaces, at exactly that resourceVersion. */
  readonly replaces?: IssuedSecret | undefined;
}

export type SecretManifest = KubernetesObject<{
  readonly type: string;
  readonly data: Readonly<Record<string, string>>;
}>;

export function secretManifest(content: SecretContent): SecretManifest {
  const { namespace, name, pod, replaces } = content;
  if (replaces?.extrasOmitted)
    throw new TypeError('read the whole Secret before replacing it: its labels would be lost');
  const { annotations, labels } = ownMetadata(content);
  const data = secretData(content);
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: {
      name,
      namespace,
      ...(replaces === undefined ? {} : { uid: replaces.uid, resourceVersion: replaces.resourceVersion }),
      labels: { ...replaces?.foreign.labels, ...labels },
      annotations: { ...replaces?.foreign.annotations, ...annotations },
      ...(replaces?.finalizers === undefined ? {} : { finalizers: replaces.finalizers }),
      ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: pod.name, uid: pod.uid }],
      // Another manager would keep owning the fields that this write does not change, and the Secret would never be intact again.
      ...(replaces?.intact === false && {
        managedFields: [
          claimFields(FIELD_MANAGER, {
            data: Object.keys(data),
            labels: Object.keys(labels),
            annotations: Object.keys(annotations),
            ownerUid: pod.uid,
          }),
        ],
      }),
    },
    type: ISSUED_SECRET_TYPE,
    data,
  };
}

function ownMetadata({
  certificate,
  credential,
  onWithdraw,
  pod,
  renewAt,
  resourceName: resource,
  template,
}: SecretContent): ExtraMetadata {
  return {
    labels: { ...template.labels, [MANAGED_BY_LABEL]: MANAGED_BY, [RESOURCE_LABEL]: resource },
    annotations: {
      ...template.annotations,
      [SECRET_ANNOTATIONS.podName]: pod.name,
      [SECRET_ANNOTATIONS.podUid]: pod.uid,
      [SECRET_ANNOTATIONS.issuedAt]: formatRfc3339(credential.issuedAt),
      [SECRET_ANNOTATIONS.expiresAt]: formatRfc3339(credential.expiresAt),
      [SECRET_ANNOTATIONS.renewAt]: formatRfc3339(renewAt),
      [SECRET_ANNOTATIONS.certificateSha256]: certificate.sha256,
      [SECRET_ANNOTATIONS.chainSha256]: certificate.chainSha256,
      [SECRET_ANNOTATIONS.credentialSha256]: createHash('sha256').update(credential.bytes).digest('hex'),
      [SECRET_ANNOTATIONS.usage]: credential.usage,
      [SECRET_ANNOTATIONS.keyAlgorithm]: credential.keyAlgorithm,
      ...(onWithdraw === 'Delete' && { [SECRET_ANNOTATIONS.onWithdraw]: onWithdraw }),
    },
  };
}

function secretData({ certificate, credential, key }: SecretContent): Readonly<Record<string, string>> {
  const files = credentialFiles({ certificate, issued: credential, key });
  return Object.fromEntries([...files].map(([name, content]) => [name, Buffer.from(content).toString('base64')]));
}
