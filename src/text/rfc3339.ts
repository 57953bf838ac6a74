/** Times in the one form that this project writes: RFC 3339, UTC, whole seconds (metav1.Time), as in `2026-11-22T22:00:00Z`. */

/** `seconds` since the epoch; fractions are dropped. Throws RangeError for what no calendar has. */
export function formatRfc3339(seconds: number): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, -5)}Z`;
}

/** metav1.MicroTime, as Leases and Events want it: exactly six digits, of which a millisecond clock fills three. */
export function formatRfc3339Micro(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, -1)}000Z`;
}
