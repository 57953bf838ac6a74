/** Warnings of an admission response: they travel in HTTP headers, so they are short and contain no control characters. */

/** The API server truncates longer ones. */
const MAX_LENGTH = 256;
const MAX_COUNT = 16;
const MAX_QUOTED = 48;

/** Foreign text, escaped and shortened. */
export function quoted(text: string): string {
  return JSON.stringify(text.length <= MAX_QUOTED ? text : `${text.slice(0, MAX_QUOTED)}...`);
}

/** Limited to the count and length that the API server passes on. */
export function fitWarnings(warnings: readonly string[]): readonly string[] {
  return [...new Set(warnings)]
    .slice(0, MAX_COUNT)
    .map((text) => (text.length <= MAX_LENGTH ? text : `${text.slice(0, MAX_LENGTH - 3)}...`));
}
