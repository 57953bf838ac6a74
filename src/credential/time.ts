/** RFC 3339 in UTC, without fractions: `2026-11-22T22:00:00Z`. `seconds` since the epoch. */
export function formatTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(/\.\d+Z$/, 'Z');
}
