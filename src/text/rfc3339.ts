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

/** In milliseconds since the epoch, for any offset; NaN for text that is not such a time, or that is none when it is written in UTC. */
export function parseRfc3339(text: string): number {
  const [, day] = RFC3339.exec(text) ?? [];
  if (day === undefined || !isDay(day)) return Number.NaN;
  const time = Date.parse(text.toUpperCase());
  return time >= FIRST && time <= LAST ? time : Number.NaN;
}

/** Years have four digits: an offset may lead out of them. */
const FIRST = Date.parse('0000-01-01T00:00:00Z');
const LAST = Date.parse('9999-12-31T23:59:59Z');

/** Date.parse takes 30 February for 2 March. */
function isDay(day: string): boolean {
  const midnight = Date.parse(day);
  return !Number.isNaN(midnight) && new Date(midnight).toISOString().startsWith(day);
}
