/**
 * Takes out of text whatever might be a key or a token, so that what somebody put into a label, an annotation or a message does not
 * leave the cluster with a support archive, and the short secrets that have a known place in a URI. Errs on the side of taking too much:
 * a fingerprint goes too. Pure.
 */

/** PEM from its first line to its last, or to the end of the text. */
const PEM = /-----BEGIN [\s\S]*?(?:-----END [^-\n]{0,64}-----|$)/g;

/** Bytes as `openssl pkey -text` prints them. */
const COLON_HEX = /(?:[0-9A-Fa-f]{2}:){7,}[0-9A-Fa-f]{0,2}/g;

/** Long words of base64, base64url, hex or digits. A key of 32 bytes has 43 characters; a piece of one may have fewer. */
const LONG_WORD = /[A-Za-z0-9+/=_-]{20,}/g;

/** The PIN of a token in a key URI (RFC 7512), which may be an argument of `dcred issuer`: short, as PINs are. Not what is already out. */
const PIN = /(pin-value=)(?!\(\d{1,9} characters\))([^&\s"']+)/gi;

/** User and password in a URL (RFC 3986 section 3.2.1): of a proxy, a collector of traces. */
const USER_INFO = /(:\/\/)([^\s/?#@"']{1,512})(?=@)/g;

/** What a part of an ordinary word is like: no key has only such parts. */
const ORDINARY_PARTS = [
  /^[a-z]{0,40}$/,
  /^[a-z0-9]{0,19}$/,
  /^[A-Z0-9]{0,19}$/,
  /^[a-z]{0,20}(?:[A-Z][a-z]{2,19})+\d{0,3}$/,
];

export function scrub(text: string): string {
  return text
    .replace(PEM, omitted)
    .replace(PIN, omittedAfter)
    .replace(USER_INFO, omittedAfter)
    .replace(COLON_HEX, omitted)
    .replace(LONG_WORD, (word) => (isOrdinary(word) ? word : omitted(word)));
}

/** Names and paths: `web-7d9f8b6c5d-x2x4z`, `subjectaccessreviews`, a UID. */
function isOrdinary(word: string): boolean {
  return word.split(/[-+/=_]/).every((part) => ORDINARY_PARTS.some((pattern) => pattern.test(part)));
}

function omitted(text: string): string {
  return `(${text.length} characters)`;
}

function omittedAfter(_match: string, before: string, secret: string): string {
  return before + omitted(secret);
}

/** The same for every string in a value, names of fields included. */
export function scrubAll(value: unknown): unknown {
  if (typeof value === 'string') return scrub(value);
  if (Array.isArray(value)) return value.map(scrubAll);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [scrub(key), scrubAll(inner)]));
}
