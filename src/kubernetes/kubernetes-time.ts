/** Times as Kubernetes writes them: RFC 3339, UTC. */

/** metav1.Time: whole seconds. */
export function toKubernetesTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

/** metav1.MicroTime: exactly six digits, of which a millisecond clock fills three. */
export function toMicroTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, -1)}000Z`;
}
