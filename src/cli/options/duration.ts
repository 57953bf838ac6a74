import { UsageError } from '../command.ts';

const UNIT_NANOSECONDS = {
  h: 3_600_000_000_000n,
  m: 60_000_000_000n,
  s: 1_000_000_000n,
  ms: 1_000_000n,
  us: 1_000n,
  '\u00b5s': 1_000n,
  ns: 1n,
} as const;
type Unit = keyof typeof UNIT_NANOSECONDS;

const DURATION = /^([0-9]+(\.[0-9]+)?(h|ms|m|s|us|\u00b5s|ns))+$/;
const PART = /([0-9]+)(?:\.([0-9]+))?(h|ms|m|s|us|\u00b5s|ns)/gy;

/**
 * A duration as Go writes it (`48h`, `90s`, `1h30m`), in whole seconds: what kubectl and every Kubernetes flag take.
 * Throws UsageError; `option` names the flag in its message.
 */
export function parseDuration(text: string, option: string): number {
  const seconds = DURATION.test(text) ? sumParts(text) : Number.NaN;
  if (Number.isSafeInteger(seconds)) return seconds;
  throw new UsageError(`${option} takes a duration in whole seconds such as 48h, 30m, 90s or 1h30m; got "${text}"`);
}

/** The shortest such text, without parts that are zero: `48h`, `1h30m`, `0s`. `seconds` is rounded down. */
export function formatDuration(seconds: number): string {
  const whole = Math.floor(Math.abs(seconds));
  const parts = [
    [Math.floor(whole / 3600), 'h'],
    [Math.floor((whole % 3600) / 60), 'm'],
    [whole % 60, 's'],
  ] as const;
  const text = parts.map(([value, unit]) => (value === 0 ? '' : `${value}${unit}`)).join('');
  return `${seconds < 0 && text !== '' ? '-' : ''}${text || '0s'}`;
}

/** NaN where it is no whole number of seconds. Exact: a binary fraction has no 1.1. */
function sumParts(text: string): number {
  const parts = [...text.matchAll(PART)].map(([, whole = '', fraction = '', unit]) => {
    const scaled = BigInt(whole + fraction) * UNIT_NANOSECONDS[unit as Unit];
    return { scaled, digits: fraction.length };
  });
  const digits = Math.max(...parts.map((part) => part.digits));
  const sum = parts.reduce((total, part) => total + part.scaled * 10n ** BigInt(digits - part.digits), 0n);
  const second = UNIT_NANOSECONDS.s * 10n ** BigInt(digits);
  return sum % second === 0n ? Number(sum / second) : Number.NaN;
}
