/** Runs mostly wait, so several go on at once; the results are in the order of the input. */
export async function inParallel<T, R>(
  inputs: readonly T[],
  atOnce: number,
  work: (input: T) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = [];
  const queue = inputs.entries();
  const worker = async () => {
    for (const [index, input] of queue) results[index] = await work(input);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return results;
}
