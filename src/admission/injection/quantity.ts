/** Kubernetes quantities (`100m`, `64Mi`, `1e3`), in thousandths, so that they can be compared and added. */

const SUFFIXES: Readonly<Record<string, readonly [numerator: bigint, denominator: bigint]>> = {
  n: [1n, 1_000_000n],
  u: [1n, 1_000n],
  m: [1n, 1n],
  '': [1_000n, 1n],
  k: [1_000n ** 2n, 1n],
  M: [1_000n ** 3n, 1n],
  G: [1_000n ** 4n, 1n],
  T: [1_000n ** 5n, 1n],
  P: [1_000n ** 6n, 1n],
  E: [1_000n ** 7n, 1n],
  Ki: [1_000n * 1_024n, 1n],
  Mi: [1_000n * 1_024n ** 2n, 1n],
  Gi: [1_000n * 1_024n ** 3n, 1n],
  Ti: [1_000n * 1_024n ** 4n, 1n],
  Pi: [1_000n * 1_024n ** 5n, 1n],
  Ei: [1_000n * 1_024n ** 6n, 1n],
};

const MAX_LENGTH = 32;
/** No quantity of a pod has more; a larger exponent would only cost memory. */
const MAX_EXPONENT = 24;
const QUANTITY = /^(\d{1,24})(?:\.(\d{0,24}))?(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,2}))?$/;

/** Thousandths, rounded up as the API server does; undefined when the text is not a quantity (or not a positive one). */
export function parseQuantity(text: string): bigint | undefined {
  const match = text.length > MAX_LENGTH ? null : QUANTITY.exec(text);
  if (match === null) return undefined;
  const [, whole = '', fraction = '', suffix = '', exponentText = '0'] = match;
  const exponent = Number(exponentText);
  const [numerator, denominator] = SUFFIXES[suffix] ?? [1_000n, 1n];
  if (Math.abs(exponent) > MAX_EXPONENT) return undefined;
  const up = BigInt(whole + fraction) * numerator * 10n ** BigInt(Math.max(0, exponent));
  const down = denominator * 10n ** BigInt(fraction.length + Math.max(0, -exponent));
  return (up + down - 1n) / down;
}

/** The canonical text of a number of thousandths. */
export function formatQuantity(thousandths: bigint): string {
  return thousandths % 1_000n === 0n ? String(thousandths / 1_000n) : `${thousandths}m`;
}
