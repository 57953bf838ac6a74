/**
 * Whether a JSON text is cheap enough to parse, by counting before anything is allocated: `{}` takes three bytes of a body and some
 * sixty of the heap, and nesting has no limit of its own. Linear; says nothing about whether the text is JSON.
 */

/** The API server's own decoder allows 10,000; no pod nests deeper than some twenty. */
const MAX_DEPTH = 64;
/** A pod of 256 containers with 16 mounts each has half of it. */
const MAX_VALUES = 50_000;

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c];
const [OPEN_BRACKET, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE] = [0x5b, 0x5d, 0x7b, 0x7d];

export function isCheapJson(bytes: Uint8Array): boolean {
  let [depth, values, inString] = [0, 0, false];
  for (let index = 0; index < bytes.length; index += 1) {
    const byte = bytes[index];
    if (inString) {
      if (byte === BACKSLASH) index += 1;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) {
      inString = true;
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      depth += 1;
      values += 1;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      depth -= 1;
    } else if (byte === COMMA) {
      values += 1;
    }
    if (depth > MAX_DEPTH || values > MAX_VALUES) return false;
  }
  return true;
}
