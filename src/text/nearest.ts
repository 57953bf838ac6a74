/** The word that a misspelt one was meant to be. Pure. */

/** Longer ones are not typed; the cost is their product. */
const MAX_LENGTH = 64;

/** The nearest of `words`: at most two slips away, fewer for a short word; else the only one that begins with it. */
export function nearest(typed: string, words: readonly string[]): string | undefined {
  const wanted = plain(typed);
  if (wanted === '' || wanted.length > MAX_LENGTH) return undefined;
  const allowed = Math.min(2, Math.floor((wanted.length + 1) / 3));
  const [first] = words
    .map((word) => ({ word, slips: slips(wanted, plain(word)) }))
    .filter((one) => one.slips <= allowed)
    .sort((one, other) => one.slips - other.slips);
  if (first !== undefined) return first.word;
  const [only, ...more] = words.filter((word) => plain(word).startsWith(wanted));
  return more.length === 0 && wanted.length > 1 ? only : undefined;
}

function plain(word: string): string {
  return word.toLowerCase().replaceAll('_', '-');
}

/** Letters added, left out, changed, or swapped with their neighbour (optimal string alignment). */
function slips(one: string, other: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: other.length + 1 }, (_, position) => position);
  for (let row = 1; row <= one.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= other.length; column += 1) {
      const isSame = one[row - 1] === other[column - 1];
      const isSwapped =
        row > 1 && column > 1 && one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1];
      current[column] = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (isSame ? 0 : 1),
        isSwapped ? (beforeLast[column - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    beforeLast = last;
    last = current;
  }
  return last[other.length] ?? 0;
}
