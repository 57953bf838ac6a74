/** Warnings of an admission response: they travel in HTTP headers, so they are short and hold no control characters. */

/** The API server cuts longer ones. */
const MAX_LENGTH = 256;
const MAX_COUNT = 16;
const MAX_QUOTED = 48;

/** Somebody else's text, made harmless and short. */
export function quoted(text: string): string {
  return JSON.stringify(text.length <= MAX_QUOTED ? text : `${text.slice(0, MAX_QUOTED)}...`);
}

/** As many and as long as the API server passes on. */
export function fitWarnings(warnings: readonly string[]): readonly string[] {
  return [...new Set(warnings)]
    .slice(0, MAX_COUNT)
    .map((text) => (text.length <= MAX_LENGTH ? text : `${text.slice(0, MAX_LENGTH - 3)}...`));
}
