/** Times in RFC 3339: written in UTC, in whole seconds (metav1.Time) unless said, as in `2026-11-22T22:00:00Z`. The one place. */

/** `seconds` since the epoch; fractions are dropped. Throws RangeError for what no calendar has. */
export function formatRfc3339(seconds: number): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, -5)}Z`;
}

/** metav1.MicroTime, as Leases and Events want it: exactly six digits, of which a millisecond clock fills three. */
export function formatRfc3339Micro(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, -1)}000Z`;
}

/** To the millisecond: `2026-11-22T22:00:00.000Z`. */
export function formatRfc3339Milli(milliseconds: number): string {
  return new Date(Math.round(milliseconds)).toISOString();
}

const RFC3339 = /^(\d{4}-\d{2}-\d{2})[Tt]([01]\d|2[0-3]):\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/;

/** In milliseconds since the epoch, for any offset; NaN for text that is not such a time. */
export function parseRfc3339(text: string): number {
  const [, day] = RFC3339.exec(text) ?? [];
  return day !== undefined && isDay(day) ? Date.parse(text.toUpperCase()) : Number.NaN;
}

/** Date.parse takes 30 February for 2 March. */
function isDay(day: string): boolean {
  const midnight = Date.parse(day);
  return !Number.isNaN(midnight) && new Date(midnight).toISOString().startsWith(day);
}
