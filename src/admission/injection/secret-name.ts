/** Names of Secrets that nobody can foretell. */

/** So many random bytes. */
export type RandomBytes = (size: number) => Uint8Array;

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';
/** Of five bits each: 130 bits in all. */
const CHARACTERS = 26;

/**
 * `<resource>-<26 random characters>`, at most 67 characters. A pod's own name is no part of it: at admission, a pod made by a
 * controller has none yet. With 130 random bits no two pods ever share a name, and nobody can claim one in advance: a pod that
 * carried the name in an annotation before the real one exists would have its key mounted by the real one.
 */
export function freshSecretName(resource: string, random: RandomBytes): string {
  const characters = Array.from(random(CHARACTERS), (byte) => ALPHABET[byte & 31]);
  return `${resource}-${characters.join('')}`;
}
