/** Unguessable Secret names. */

/** @returns `size` random bytes */
export type RandomBytes = (size: number) => Uint8Array;

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';
/** Five bits each: 130 bits. */
const CHARACTERS = 26;

/**
 * `<resource>-<26 random characters>`, at most 67 characters. The pod's name is not part of it: at admission, a pod created by a
 * controller has none yet. With 130 random bits no two pods share a name and nobody can claim one in advance: a pod that carried
 * the name in an annotation first would have its key mounted by the real pod.
 */
export function freshSecretName(resourceName: string, random: RandomBytes): string {
  const characters = Array.from(random(CHARACTERS), (byte) => ALPHABET[byte & 31]);
  return `${resourceName}-${characters.join('')}`;
}
