/** Trimming of chosen characters. A regular expression such as `/x+$/` costs the square of a long run that something follows. */

/** `text` without the characters at its end for which `isTrimmed` holds. O(text). */
export function trimEndWhile(text: string, isTrimmed: (character: string) => boolean): string {
  let end = text.length;
  while (end > 0 && isTrimmed(text[end - 1] ?? '')) end -= 1;
  return text.slice(0, end);
}
