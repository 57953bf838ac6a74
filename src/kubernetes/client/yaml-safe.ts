/** JSON as the body of a server-side apply, which the API server reads as YAML. */

/** What YAML does not take raw: C1 controls, U+2028 and U+2029, a byte order mark, non-characters. C0 are escaped in JSON anyway. */
const UNPRINTABLE_IN_YAML = /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g;

/** JSON that a YAML parser takes whatever characters are in it, as server-side apply does: half a surrogate pair becomes U+FFFD. */
export function yamlSafe(object: object): string {
  const json = JSON.stringify(object, (_key, value: unknown) =>
    typeof value === 'string' ? value.toWellFormed() : value,
  );
  return json.replaceAll(
    UNPRINTABLE_IN_YAML,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
