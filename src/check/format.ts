import { paint } from '../status/paint.ts';
import type { Finding, Level } from './finding.ts';

const COLOURS = { ok: 'green', warning: 'yellow', problem: 'red' } as const satisfies Record<Level, string>;

/** A line for each finding, what to do below it, and a summary. */
export function formatFindings(findings: readonly Finding[], colour: boolean): string {
  const width = findings.reduce((widest, { check }) => Math.max(widest, check.length), 0);
  const indent = ' '.repeat(LEVEL_WIDTH + 2 + width + 2);
  const lines = findings.flatMap(({ check, level, message, remedy }) => [
    `${paint(level.padEnd(LEVEL_WIDTH), COLOURS[level], colour)}  ${check.padEnd(width)}  ${message}`,
    ...(remedy === undefined ? [] : [`${indent}-> ${remedy}`]),
  ]);
  return [...lines, '', summary(findings), ''].join('\n');
}

const LEVEL_WIDTH = 'problem'.length;

function summary(findings: readonly Finding[]): string {
  const count = (level: Level) => findings.filter((finding) => finding.level === level).length;
  const plural = (number: number, word: string) => `${number} ${word}${number === 1 ? '' : 's'}`;
  return `${plural(findings.length, 'check')}: ${plural(count('problem'), 'problem')}, ${plural(count('warning'), 'warning')}`;
}
