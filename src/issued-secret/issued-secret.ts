/**
 * What the operator keeps of an issued Secret, read from its metadata alone: the data (a private key) never comes back from the
 * API server. Bounded for each Secret, because others may write its metadata.
 */
import { FIELD_MANAGER, MANAGED_BY, MANAGED_BY_LABEL, RESOURCE_LABEL, SECRET_ANNOTATIONS } from '../api/keys.ts';
import { CREDENTIAL_FILE_NAMES } from '../credential/files.ts';
import { KEY_ALGORITHMS, type KeyAlgorithm, USAGES, type Usage } from '../credential/scheme.ts';
import type { KubernetesObject, ObjectMeta } from '../kubernetes/objects.ts';
import { isDnsSubdomain } from '../text/dns-name.ts';
import { parseRfc3339 } from '../text/rfc3339.ts';
import { fieldOwnership, type Ownership } from './field-ownership.ts';
import { formatPodKey } from './names.ts';

type Entries = Readonly<Record<string, string>>;

/** The credential's facts, from the annotations. Times in seconds since the epoch. */
export interface CredentialFacts {
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly renewAt: number;
  readonly certificateSha256: string;
  /** Of `tls.crt` as published. Undefined where nobody wrote it: by an older dcred, or because another client removed it. */
  readonly chainSha256: string | undefined;
  /** Of `dc.bin`: what an audit knows it by. Undefined for Secrets that an older dcred issued. */
  readonly credentialSha256: string | undefined;
  readonly usage: Usage;
  readonly keyAlgorithm: KeyAlgorithm;
}

/** Labels and annotations other than those of the contract. */
export interface ExtraMetadata {
  readonly labels: Entries;
  readonly annotations: Entries;
}

export interface IssuedSecret {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  /** The DelegatedCredential that it was issued for. */
  readonly resourceName: string;
  /** The pod that owns it. */
  readonly podName: string;
  readonly podUid: string;
  /** Undefined where an annotation is missing or malformed: another client changed it. */
  readonly facts: CredentialFacts | undefined;
  /** No other client changed what dcred wrote. */
  readonly intact: boolean;
  /** It goes when the grant that it was issued by is withdrawn. */
  readonly deleteOnWithdraw?: true;
  /** What `secretTemplate` set. */
  readonly template: ExtraMetadata;
  /** What other clients set; kept through every re-issue. */
  readonly foreign: ExtraMetadata;
  /** When a client that calls itself dcred last changed it, by the API server's clock; seconds since the epoch. */
  readonly writtenAt?: number;
  /** Of other clients, kept likewise; absent where there are none. */
  readonly finalizers?: readonly string[];
  /**
   * True: template, foreign and finalizers were too much to keep, and are empty here. Whoever needs them reads the Secret's
   * metadata from the API server again, with `readWholeIssuedSecret`.
   */
  readonly extrasOmitted?: true;
}

/** What every issued Secret holds; Fizz reads P-256 keys only. */
export function dataKeys(keyAlgorithm: KeyAlgorithm): readonly string[] {
  const names = CREDENTIAL_FILE_NAMES;
  return keyAlgorithm === 'ECDSAP256' ? names : names.filter((name) => name !== 'fizz.pem');
}

const OWN_LABELS: readonly string[] = [MANAGED_BY_LABEL, RESOURCE_LABEL];
const OWN_ANNOTATIONS: readonly string[] = Object.values(SECRET_ANNOTATIONS);
/**
 * Without its chain's hash a Secret is not void: its chain is published again, and key and credential stay. Without its credential's
 * hash an audit compares times instead. The word for a withdrawal is written again as labels are, and most have none.
 */
const OPTIONAL_ANNOTATIONS: readonly string[] = [
  SECRET_ANNOTATIONS.chainSha256,
  SECRET_ANNOTATIONS.credentialSha256,
  SECRET_ANNOTATIONS.onWithdraw,
];
const REQUIRED_ANNOTATIONS = OWN_ANNOTATIONS.filter((name) => !OPTIONAL_ANNOTATIONS.includes(name));
/** kubectl stores the whole object there, private key included; it must not outlive a re-issue. */
export const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

const NO_ENTRIES: Entries = Object.freeze({});
const NO_EXTRAS: ExtraMetadata = Object.freeze({ labels: NO_ENTRIES, annotations: NO_ENTRIES });

/** In characters, for each Secret. A team's labels and annotations take a few hundred; secretTemplate may have more. */
export const MAX_KEPT_EXTRAS = 1024;
/** Kubernetes' own are UUIDs of 36. */
const MAX_UID_LENGTH = 64;

/**
 * As it is kept in a cache: labels, annotations and finalizers beyond those of the contract only up to `MAX_KEPT_EXTRAS`.
 * Undefined for a Secret that dcred does not own: without its labels, or without an owner that is a pod. Such a Secret is never
 * written or deleted, whatever its name.
 */
export function readIssuedSecret(object: KubernetesObject): IssuedSecret | undefined {
  const secret = readWholeIssuedSecret(object);
  if (secret === undefined || extrasSize(secret) <= MAX_KEPT_EXTRAS) return secret;
  const { finalizers: _finalizers, ...rest } = secret;
  return { ...rest, template: NO_EXTRAS, foreign: NO_EXTRAS, extrasOmitted: true };
}

function extrasSize({ finalizers = [], foreign, template }: IssuedSecret): number {
  const entries = [template.labels, template.annotations, foreign.labels, foreign.annotations].flatMap(Object.entries);
  return [...entries.flat(), ...finalizers].reduce((size, text) => size + text.length, 0);
}

/** The same, whole. Undefined as for `readIssuedSecret`. */
export function readWholeIssuedSecret({ metadata }: KubernetesObject): IssuedSecret | undefined {
  const { labels = NO_ENTRIES, annotations = NO_ENTRIES, ownerReferences = [], finalizers = [] } = metadata;
  const resource = labels[RESOURCE_LABEL];
  const owner = ownerReferences.find(({ kind, apiVersion }) => kind === 'Pod' && apiVersion === 'v1');
  if (labels[MANAGED_BY_LABEL] !== MANAGED_BY || resource === undefined || owner === undefined) return undefined;
  // The API server checks neither the name nor the uid of an owner.
  if (!isDnsSubdomain(owner.name) || owner.uid.length > MAX_UID_LENGTH) return undefined;
  const facts = readFacts(annotations);
  const ownership = fieldOwnership(metadata.managedFields, FIELD_MANAGER, {
    data: dataKeys(facts?.keyAlgorithm ?? 'ECDSAP256'),
    labels: OWN_LABELS,
    annotations:
      facts?.credentialSha256 === undefined
        ? REQUIRED_ANNOTATIONS
        : [...REQUIRED_ANNOTATIONS, SECRET_ANNOTATIONS.credentialSha256],
    ownerUid: owner.uid,
  });
  const writtenAt = lastWrite(metadata.managedFields);
  const { namespace = '', name = '', uid = '', resourceVersion = '' } = metadata;
  return {
    namespace,
    name,
    uid,
    resourceVersion,
    resourceName: resource,
    podName: owner.name,
    podUid: owner.uid,
    facts,
    intact: facts !== undefined && ownership.intact && annotations[SECRET_ANNOTATIONS.podUid] === owner.uid,
    ...(writtenAt === undefined ? {} : { writtenAt }),
    ...(annotations[SECRET_ANNOTATIONS.onWithdraw] === 'Delete' && { deleteOnWithdraw: true as const }),
    template: extras(labels, annotations, (kind, key) => owns(ownership, kind, key)),
    foreign: extras(labels, annotations, (kind, key) => !owns(ownership, kind, key)),
    ...(finalizers.length === 0 ? {} : { finalizers }),
  };
}

function lastWrite(entries: ObjectMeta['managedFields'] = []): number | undefined {
  const times = entries.flatMap(({ manager, time }) => (manager === FIELD_MANAGER ? (readTime(time) ?? []) : []));
  return times.length === 0 ? undefined : Math.max(...times);
}

function owns(ownership: Ownership, kind: 'labels' | 'annotations', key: string): boolean {
  return ownership[kind].has(key);
}

function extras(
  labels: Entries,
  annotations: Entries,
  wanted: (kind: 'labels' | 'annotations', key: string) => boolean,
): ExtraMetadata {
  const chosen = {
    labels: pick(labels, (key) => !OWN_LABELS.includes(key) && wanted('labels', key)),
    annotations: pick(
      annotations,
      (key) => !OWN_ANNOTATIONS.includes(key) && key !== LAST_APPLIED && wanted('annotations', key),
    ),
  };
  return chosen.labels === NO_ENTRIES && chosen.annotations === NO_ENTRIES ? NO_EXTRAS : chosen;
}

/** Most Secrets have nothing extra, and there are many Secrets: those share one empty object. */
function pick(entries: Entries, wanted: (key: string) => boolean): Entries {
  const chosen = Object.entries(entries).filter(([key]) => wanted(key));
  return chosen.length === 0 ? NO_ENTRIES : Object.fromEntries(chosen);
}

function readFacts(annotations: Entries): CredentialFacts | undefined {
  const issuedAt = readTime(annotations[SECRET_ANNOTATIONS.issuedAt]);
  const expiresAt = readTime(annotations[SECRET_ANNOTATIONS.expiresAt]);
  const renewAt = readTime(annotations[SECRET_ANNOTATIONS.renewAt]);
  const certificateSha256 = annotations[SECRET_ANNOTATIONS.certificateSha256];
  const usage = USAGES.find((one) => one === annotations[SECRET_ANNOTATIONS.usage]);
  const keyAlgorithm = KEY_ALGORITHMS.find((one) => one === annotations[SECRET_ANNOTATIONS.keyAlgorithm]);
  if (issuedAt === undefined || expiresAt === undefined || renewAt === undefined || issuedAt >= expiresAt)
    return undefined;
  if (certificateSha256 === undefined || usage === undefined || keyAlgorithm === undefined) return undefined;
  if (!SHA256.test(certificateSha256)) return undefined;
  return {
    issuedAt,
    expiresAt,
    renewAt,
    certificateSha256,
    chainSha256: readHash(annotations[SECRET_ANNOTATIONS.chainSha256]),
    credentialSha256: readHash(annotations[SECRET_ANNOTATIONS.credentialSha256]),
    usage,
    keyAlgorithm,
  };
}

function readHash(text: string | undefined): string | undefined {
  return text !== undefined && SHA256.test(text) ? text : undefined;
}

/** Lower-case hex. */
const SHA256 = /^[0-9a-f]{64}$/;

/** RFC 3339 to seconds since the epoch. */
function readTime(text: string | undefined): number | undefined {
  const milliseconds = parseRfc3339(text ?? '');
  return Number.isNaN(milliseconds) ? undefined : Math.floor(milliseconds / 1000);
}

/** The (resource, pod) that it was issued for. */
export function podKeyOf({ namespace, resourceName: resource, podName }: IssuedSecret): string {
  return formatPodKey({ namespace, resourceName: resource, pod: podName });
}
