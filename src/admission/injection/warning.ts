/** Warnings of an admission response: they travel in HTTP headers, so they are few, short and without control characters. */
import { printable } from '../../text/printable.ts';

/** The API server truncates longer ones. */
const MAX_LENGTH = 256;
const MAX_COUNT = 16;
const MAX_QUOTED = 48;

/** Foreign text, escaped and shortened. */
export function quoted(text: string): string {
  return `"${printable(text, MAX_QUOTED).replaceAll('"', '\\"')}"`;
}

/** Limited to the count and length that the API server passes on; what is left out is counted. */
export function fitWarnings(warnings: readonly string[]): readonly string[] {
  const different = [...new Set(warnings)];
  const kept = different.length > MAX_COUNT ? different.slice(0, MAX_COUNT - 1) : different;
  const omitted = different.length - kept.length;
  return [
    ...kept.map((text) => printable(text, MAX_LENGTH)),
    ...(omitted === 0 ? [] : [`dcred.dev: and ${omitted} more warnings`]),
  ];
}
