/**
 * Every name under `dcred.dev` that other people's manifests and clusters rely on: labels, annotations, gates, Secret types,
 * volumes. No other file of src spells one out; a test holds that. They are part of the contract.
 */

export const API_GROUP = 'dcred.dev';
export const API_VERSION = 'v1alpha1';

/** The operator in Events (`reportingController`). */
export const CONTROLLER_NAME = `${API_GROUP}/operator`;

/** Of the webhook in its MutatingWebhookConfiguration. */
export const WEBHOOK_NAME = `inject.${API_GROUP}`;

/** Our name in managedFields. It is how an edit by another client is told from our own, so it never changes. */
export const FIELD_MANAGER = 'dcred';

/** Scheduled audits in Events, and in managedFields: the condition `Serving` is theirs alone. */
export const AUDIT_CONTROLLER_NAME = `${API_GROUP}/audit`;
export const AUDIT_FIELD_MANAGER = 'dcred-audit';

/** On a pod: the label that asks for injection; its value is a resource's name. The annotation may name several, comma-separated. */
export const INJECT_KEY = `${API_GROUP}/inject`;

/** On a pod: the containers that get the mounts, comma-separated. Absent: all of them. */
export const CONTAINERS_ANNOTATION = `${API_GROUP}/containers`;

/** On a pod: how its server reloads a new credential; several, one a line. See `reload-spec.ts`. */
export const RELOAD_ANNOTATION = `${API_GROUP}/reload`;

/** On a pod: requests and limits of its reload agent, such as `requests.cpu=5m,limits.memory=128Mi`. */
export const AGENT_RESOURCES_ANNOTATION = `${API_GROUP}/agent-resources`;

/** On a pod that the webhook has seen and not injected: why, and what to do. Written by the webhook. */
export const NOT_INJECTED_ANNOTATION = `${API_GROUP}/not-injected`;

/** On a pod: when one of its Secrets was last re-issued. dcred itself ignores it: see `kubelet-nudge.ts`. */
export const RENEWED_AT_ANNOTATION = `${API_GROUP}/renewed-at`;

/** On a DelegatedCredential: credentials issued before this time are re-issued. RFC 3339. See `renew-request.ts`. */
export const RENEW_REQUESTED_AT = `${API_GROUP}/renew-requested-at`;

/** The type of an issued Secret. */
export const ISSUED_SECRET_TYPE = `${API_GROUP}/delegated-credential`;

/** The type of the Secret with the webhook's own serving certificate. */
export const SERVING_CERTIFICATE_TYPE = `${API_GROUP}/webhook-certificate`;

export const MANAGED_BY_LABEL = 'app.kubernetes.io/managed-by';
export const MANAGED_BY = 'dcred';

/** The chart's labels on its objects: `dcred`, `operator` and so on, and the version of dcred. */
export const PART_OF_LABEL = 'app.kubernetes.io/part-of';
export const COMPONENT_LABEL = 'app.kubernetes.io/component';
export const VERSION_LABEL = 'app.kubernetes.io/version';
export const PART_OF = 'dcred';

/** On an issued Secret: the DelegatedCredential that it was issued for. */
export const RESOURCE_LABEL = `${API_GROUP}/delegated-credential`;

/** On an issued Secret: what was issued, for which pod, until when. */
export const SECRET_ANNOTATIONS = {
  podName: `${API_GROUP}/pod-name`,
  podUid: `${API_GROUP}/pod-uid`,
  issuedAt: `${API_GROUP}/issued-at`,
  expiresAt: `${API_GROUP}/expires-at`,
  renewAt: `${API_GROUP}/renew-at`,
  certificateSha256: `${API_GROUP}/certificate-sha256`,
  chainSha256: `${API_GROUP}/chain-sha256`,
  credentialSha256: `${API_GROUP}/credential-sha256`,
  usage: `${API_GROUP}/usage`,
  keyAlgorithm: `${API_GROUP}/key-algorithm`,
  /** `Delete`: by a grant whose withdrawal deletes the Secret. Absent: it stays. */
  onWithdraw: `${API_GROUP}/on-withdraw`,
} as const;

/** Keys of this prefix are dcred's own: nobody else may set them through `secretTemplate`. */
export const OWN_PREFIX = `${API_GROUP}/`;

const SECRET_NAME_PREFIX = `secret.${API_GROUP}/`;
const PORT_PREFIX = `port.${API_GROUP}/`;
const GATE_PREFIX = `gate.${API_GROUP}/`;

/** On a pod: the annotation with the name of the Secret that it mounts for one resource. */
export function secretNameAnnotation(resourceName: string): string {
  return SECRET_NAME_PREFIX + resourceName;
}

/** On a pod: the annotation with the port on which it serves one resource's credential, for audits. See `audit/endpoint.ts`. */
export function portAnnotation(resourceName: string): string {
  return PORT_PREFIX + resourceName;
}

/**
 * The scheduling gate that keeps a pod from any node until its Secret for one resource exists, and the annotation that says so:
 * pods are watched as metadata only, and gates stand in the spec. Both go in one write.
 */
export function gateName(resourceName: string): string {
  return GATE_PREFIX + resourceName;
}

/** The resource that a gate, or the annotation that stands for it, is about; undefined for a gate of somebody else. */
export function gatedResource(name: string): string | undefined {
  return name.startsWith(GATE_PREFIX) ? name.slice(GATE_PREFIX.length) : undefined;
}

export function volumeName(resourceName: string): string {
  return `dcred-${resourceName}`;
}

export function mountPath(resourceName: string): string {
  return `/var/run/secrets/${API_GROUP}/${resourceName}`;
}
