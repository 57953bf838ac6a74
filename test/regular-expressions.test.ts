/** Every regular expression of src takes time linear in its input: counted in steps, on texts made to slow it down. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, test } from 'node:test';
import { DNS_LABEL_PATTERN, DNS_SUBDOMAIN_PATTERN } from '../src/text/dns-name.ts';
import { TERMINAL } from '../src/text/printable.ts';
import { worstGrowth } from '../testing/support/regexp-steps.ts';

const SRC = resolve(import.meta.dirname, '../src');

/** Where a slash begins a regular expression: at the start, after an operator, an opening bracket or a keyword. */
const BEFORE_EXPRESSION = /(?:^|[=(,:[!&|?{};+>]|\breturn|\bcase)\s*$/;
const EXPRESSION = /\/((?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+)\/([dgimsuvy]*)(?![a-z])/y;

/** The literals of a source text: its strings and comments are skipped, and of its templates all but what they embed. */
function literalsOf(source: string): readonly RegExp[] {
  const text = source.replace(/^#!.*/, '');
  const found: RegExp[] = [];
  let before = '';
  let at = 0;
  while (at < text.length) {
    const comment = text.startsWith('//', at) ? '\n' : text.startsWith('/*', at) ? '*/' : undefined;
    if (comment !== undefined) {
      const end = text.indexOf(comment, at + 2);
      at = end === -1 ? text.length : end + comment.length;
      continue;
    }
    const character = text[at] ?? '';
    if (character === "'" || character === '"') {
      at = endOfString(text, at, character);
      before += '0';
      continue;
    }
    if (character === '`') {
      const template = readTemplate(text, at);
      found.push(...template.embedded.flatMap(literalsOf));
      at = template.end;
      before += '0';
      continue;
    }
    EXPRESSION.lastIndex = at;
    const match = character === '/' && BEFORE_EXPRESSION.test(before) ? EXPRESSION.exec(text) : null;
    if (match !== null) found.push(new RegExp(match[1] ?? '', match[2]));
    at += match?.[0].length ?? 1;
    before = match === null ? `${before}${character}`.slice(-40) : '0';
  }
  return found;
}

function endOfString(text: string, start: number, quote: string): number {
  let at = start + 1;
  while (at < text.length && text[at] !== quote && text[at] !== '\n') at += text[at] === '\\' ? 2 : 1;
  return at + 1;
}

function readTemplate(text: string, start: number): { readonly end: number; readonly embedded: readonly string[] } {
  const embedded: string[] = [];
  let at = start + 1;
  while (at < text.length && text[at] !== '`') {
    if (text.startsWith('${', at)) {
      const end = endOfEmbedded(text, at + 2);
      embedded.push(text.slice(at + 2, end));
      at = end + 1;
      continue;
    }
    at += text[at] === '\\' ? 2 : 1;
  }
  return { end: at + 1, embedded };
}

function endOfEmbedded(text: string, start: number): number {
  let depth = 0;
  for (let at = start; at < text.length; at += 1) {
    const character = text[at] ?? '';
    if (character === '`') at = readTemplate(text, at).end - 1;
    else if (character === "'" || character === '"') at = endOfString(text, at, character) - 1;
    else if (character === '{') depth += 1;
    else if (character === '}' && depth === 0) return at;
    else if (character === '}') depth -= 1;
  }
  return text.length;
}

const sources = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => ({ file, text: readFileSync(join(SRC, file), 'utf8') }));
const literals = sources.flatMap(({ file, text }) => literalsOf(text).map((expression) => ({ file, expression })));
/** Expressions made from a string at run time. */
const made = [
  ...[DNS_LABEL_PATTERN, DNS_SUBDOMAIN_PATTERN].map((pattern) => ({
    file: 'text/dns-name.ts',
    expression: new RegExp(pattern),
  })),
  { file: 'text/printable.ts', expression: TERMINAL },
];

const LENGTH = 100;
/** 1 is linear, 2 quadratic. */
const MAX_EXPONENT = 1.4;
/** Growth below this is the cost of the beginning. */
const FEW_STEPS = 3_000;

describe('no regular expression of src is super-linear', () => {
  for (const { expression, file } of [...literals, ...made]) {
    test(`${file}: ${expression}`, () => {
      const { exponent, steps, text } = worstGrowth(expression, LENGTH);
      const hurts = exponent > MAX_EXPONENT && steps > FEW_STEPS;
      assert.ok(!hurts, `${steps} steps, growing by the power ${exponent.toFixed(2)}, for ${JSON.stringify(text)}`);
    });
  }
});

describe('the check', () => {
  test('finds what it is for', () => {
    const hostile = [
      /BEGIN[^\n]*PRIVATE KEY/i,
      /\s+$/,
      /^(a+)+$/,
      /^(?:[A-Z]+\d*)*!$/,
      /[^a-z0-9]+$/,
      /a*a*b/,
      /(?:x|xy|y)*z/,
      /^[A-Za-z-]+:.*$/gm,
    ];
    const missed = hostile.filter((one) => worstGrowth(one, LENGTH).exponent <= MAX_EXPONENT);
    assert.deepEqual(missed, [/^[A-Za-z-]+:.*$/gm], 'this one is linear');
  });

  test('sees every regular expression', () => {
    const text = 'const a = /x\\/[/]+/g; b(/y/, \'/no/\', "/no/"); // /no/\n/* /no/ */ c = d / e / f; return /z/m;';
    assert.deepEqual(literalsOf(text), [/x\/[/]+/g, /y/, /z/m]);
    const byText = sources.flatMap(({ file, text: source }) =>
      [...source.matchAll(/\bnew RegExp\(|\bRegExp\(/g)].map(() => file),
    );
    assert.deepEqual(
      byText,
      made.map(({ file }) => file),
      'a new one belongs into `made`',
    );
    assert.ok(literals.length > 40);
  });
});
