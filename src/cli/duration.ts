import { UsageError } from './command.ts';

const UNIT_NANOSECONDS = {
  h: 3_600_000_000_000,
  m: 60_000_000_000,
  s: 1_000_000_000,
  ms: 1_000_000,
  us: 1_000,
  '\u00b5s': 1_000,
  ns: 1,
} as const;
type Unit = keyof typeof UNIT_NANOSECONDS;

const DURATION = /^([0-9]+(\.[0-9]+)?(h|ms|m|s|us|\u00b5s|ns))+$/;
const PART = /([0-9]+(?:\.[0-9]+)?)(h|ms|m|s|us|\u00b5s|ns)/gy;

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

function sumParts(text: string): number {
  const nanoseconds = [...text.matchAll(PART)].reduce(
    (sum, [, value, unit]) => sum + Number(value) * UNIT_NANOSECONDS[unit as Unit],
    0,
  );
  return nanoseconds / 1_000_000_000;
}
