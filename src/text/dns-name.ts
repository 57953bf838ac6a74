/**
 * The DNS names that Kubernetes uses as object names (RFC 1123 in lower case, as apimachinery's validation has them). As source
 * text too, because the CRD and its CEL rules carry the same patterns.
 */

/** One label: `web-0`. */
export const DNS_LABEL_PATTERN = '^[a-z0-9]([-a-z0-9]*[a-z0-9])?$';
/** Labels with dots between: `web-0.edge.example`. No backslash, which a CEL string would take for itself. */
export const DNS_SUBDOMAIN_PATTERN = '^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$';

const MAX_DNS_LABEL_LENGTH = 63;
export const MAX_DNS_SUBDOMAIN_LENGTH = 253;

const DNS_LABEL = new RegExp(DNS_LABEL_PATTERN);
const DNS_SUBDOMAIN = new RegExp(DNS_SUBDOMAIN_PATTERN);

/** Whether a namespace or a label of a DNS name may be called so. */
export function isDnsLabel(text: string): boolean {
  return text.length <= MAX_DNS_LABEL_LENGTH && DNS_LABEL.test(text);
}

/** Whether a Secret, a pod or most other objects may be called so; a host name in lower case is one too. */
export function isDnsSubdomain(text: string): boolean {
  return text.length <= MAX_DNS_SUBDOMAIN_LENGTH && DNS_SUBDOMAIN.test(text);
}
