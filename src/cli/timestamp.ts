import { UsageError } from './command.ts';

const RFC3339 = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/;

/** Reads RFC 3339, in seconds since the epoch, fractions dropped. Throws UsageError; `option` names the flag. */
export function parseTimestamp(text: string, option: string): number {
  const milliseconds = RFC3339.test(text) ? Date.parse(text.toUpperCase()) : Number.NaN;
  if (!Number.isNaN(milliseconds)) return Math.floor(milliseconds / 1000);
  throw new UsageError(`${option} takes a time in RFC 3339 such as 2026-11-22T22:00:00Z; got "${text}"`);
}
