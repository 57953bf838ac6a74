/** Resource versions: numbers, as Kubernetes 1.35 guarantees (KEP-5504) and etcd has always made them. */

/**
 * Negative when `a` is older, positive when it is newer, 0 when they are the same; undefined when they cannot be compared,
 * as with an API server that is not Kubernetes' own. Compared as text: they are 64-bit numbers.
 */
export function compareResourceVersions(a: string, b: string): number | undefined {
  if (a === b) return 0;
  if (!isVersion(a) || !isVersion(b)) return undefined;
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : 1;
}

function isVersion(text: string): boolean {
  return /^(?:0|[1-9]\d*)$/.test(text);
}
