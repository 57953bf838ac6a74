/** Everything known about one (resource, pod), gathered from the caches for the plan. */
import type { DelegatedCredentialResource } from '../../api/delegated-credential.ts';
import { secretNameAnnotation } from '../../api/keys.ts';
import { selects } from '../../api/pod-selector.ts';
import { isReadable } from '../../api/read.ts';
import { type IssuedSecret, podKeyOf } from '../../issued-secret/issued-secret.ts';
import { defaultSecretName, type PodKey, parsePodKey } from '../../issued-secret/names.ts';
import type { Caches } from '../caches.ts';
import type { Certificates } from '../certificates/certificates.ts';
import { type Access, OWN, underTerms } from '../core/access.ts';
import { type CertificateState, latestExpiry, stateAt } from '../core/certificate-state.ts';
import type { FailureReason, Observed } from '../core/plan.ts';
import type { Pod } from '../core/pod.ts';
import { chosenSecretName } from '../core/secret-name.ts';
import { PodFailure } from '../pod-failure.ts';

export interface Situation {
  readonly key: PodKey;
  /** With the lifetime that it may have. Undefined: there is none of that name. */
  readonly resource: DelegatedCredentialResource | undefined;
  /** Undefined: there is none of that name, or it has ended. */
  readonly pod: Pod | undefined;
  readonly certificate: CertificateState | undefined;
  readonly access: Access;
  readonly observed: Observed;
}

export interface SituationSources {
  readonly caches: Caches;
  readonly certificates: Pick<Certificates, 'access' | 'resolve'>;
  /** Seconds since the epoch. */
  readonly now: number;
}

/** Undefined for a resource that cannot be read: nothing is done for it, and nothing undone. */
export function situationOf(key: string, { caches, certificates, now }: SituationSources): Situation | undefined {
  const podKey = parsePodKey(key);
  const { namespace, resourceName, pod: podName } = podKey;
  const found = caches.resources.get(namespace, resourceName)?.value;
  if (found !== undefined && !isReadable(found)) return undefined;
  const access = found === undefined ? OWN : certificates.access(found);
  const resource = found && underTerms(found, access);
  const pod = caches.pods.get(namespace, podName);
  const certificate = resource === undefined ? undefined : stateAt(certificates.resolve(resource), now);
  const secretName = pod === undefined ? undefined : chosenSecretName(resourceName, pod);
  return {
    key: podKey,
    resource,
    pod,
    certificate,
    access,
    observed: {
      now,
      withdrawn: access.kind === 'refused',
      onWithdraw: access.kind === 'granted' ? access.terms.onWithdraw : undefined,
      spec: resource?.spec,
      renewRequestedAt: resource?.metadata.renewRequestedAt,
      pod: pod && {
        ...pod,
        selected: resource !== undefined && selects(resourceName, resource.spec.podSelector, pod),
        gated: pod.gated.includes(resourceName),
      },
      secretName,
      secrets: issuedSecrets(caches.secrets.byIndex(namespace, 'podKey', key)),
      nameHolder: secretName === undefined ? undefined : nameHolder(caches, key, namespace, secretName),
      certificate:
        certificate?.kind === 'usable'
          ? {
              sha256: certificate.certificate.sha256,
              chainSha256: certificate.certificate.chainSha256,
              latestExpiry: latestExpiry(certificate.certificate),
            }
          : undefined,
    },
  };
}

/** A Secret of that name that was issued for another (resource, pod). */
function nameHolder(caches: Caches, key: string, namespace: string, name: string): IssuedSecret | undefined {
  const holder = caches.secrets.get(namespace, name)?.issued;
  return holder === undefined || podKeyOf(holder) === key ? undefined : holder;
}

function issuedSecrets(cached: Iterable<{ readonly issued: IssuedSecret | undefined }>): readonly IssuedSecret[] {
  return [...cached].flatMap(({ issued }) => (issued === undefined ? [] : [issued]));
}

/** What the plan found wrong, with the way out. */
export function describeFailure(reason: FailureReason, { key, observed, pod }: Situation): PodFailure {
  const annotation = secretNameAnnotation(key.resourceName);
  if (reason === 'SecretNameInvalid') {
    return new PodFailure(
      reason,
      `annotation ${annotation} is not a valid Secret name: use lower-case letters, digits, "-" and "." (at most 253 characters), ` +
        `or remove it, and the name becomes "${defaultSecretName(key.resourceName, pod?.name ?? key.pod)}"`,
    );
  }
  const holder = observed.nameHolder;
  return new PodFailure(
    reason,
    `Secret "${holder?.name ?? ''}" was issued for pod "${holder?.podName ?? ''}" and DelegatedCredential ` +
      `"${holder?.resourceName ?? ''}": give this pod another name, or another Secret name in annotation ${annotation}`,
  );
}
