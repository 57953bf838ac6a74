/** What `each` makes of the items, in their order, and of so many at a time: the API server is not asked all at once. Throws what `each` throws. */
export async function inBatches<T, R>(
  items: readonly T[],
  size: number,
  each: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = [];
  for (let first = 0; first < items.length; first += size) {
    for (const result of await Promise.all(items.slice(first, first + size).map(each))) results.push(result);
  }
  return results;
}
