import { parseRfc3339 } from '../../text/rfc3339.ts';
import { UsageError } from '../command.ts';

/** Reads RFC 3339, in seconds since the epoch, fractions dropped. Throws UsageError; `option` names the flag. */
export function parseTimestamp(text: string, option: string): number {
  const milliseconds = parseRfc3339(text);
  if (!Number.isNaN(milliseconds)) return Math.floor(milliseconds / 1000);
  throw new UsageError(`${option} takes a time in RFC 3339 such as 2026-11-22T22:00:00Z; got "${text}"`);
}
