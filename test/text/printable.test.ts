import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { firstItems, printable, printableJson, printableList, printableOutput } from '../../src/text/printable.ts';

/** Written again here, by code points: what must never come out. */
const RANGES: readonly (readonly [number, number])[] = [
  [0x00, 0x1f], // C0
  [0x7f, 0x9f], // DEL, C1
  [0xad, 0xad], // soft hyphen
  [0x34f, 0x34f], // combining grapheme joiner
  [0x61c, 0x61c], // Arabic letter mark
  [0x115f, 0x1160], // Hangul fillers
  [0x17b4, 0x17b5],
  [0x180b, 0x180f], // Mongolian separators
  [0x200b, 0x200f], // zero-width characters, LRM, RLM
  [0x2028, 0x202e], // separators, bidirectional embeddings
  [0x2060, 0x206f], // word joiner, isolates
  [0x3164, 0x3164],
  [0xd800, 0xdfff], // halves of surrogate pairs
  [0xfdd0, 0xfdef],
  [0xfe00, 0xfe0f], // variation selectors
  [0xfeff, 0xfeff], // byte order mark
  [0xfff0, 0xfffb],
  [0xfffe, 0xffff],
  [0xe0000, 0xe0fff], // tags
];
const isUnprintable = (character: string) => {
  const code = character.codePointAt(0) ?? 0;
  return RANGES.some(([first, last]) => code >= first && code <= last);
};

const hostile = fc.oneof(
  fc.constantFrom(...RANGES.flat()).map((code) => String.fromCodePoint(code)),
  fc.constantFrom('\x1b[31m', '\r\n', '\u202e', '\u{e0041}', '\ud800', '\udc00', '😀', 'a', '\\', '...'),
  fc.string({ unit: 'binary', maxLength: 8 }),
);
const hostileText = fc.array(hostile, { maxLength: 40 }).map((parts) => parts.join(''));

describe('printable', () => {
  test('escapes every character of the dangerous kinds, and only those', () => {
    for (const [first, last] of RANGES) {
      for (let code = first; code <= last; code += 1) {
        const shown = printable(String.fromCodePoint(code));
        assert.match(shown, /^\\(x[0-9a-f]{2}|u[0-9a-f]{4}|u\{[0-9a-f]{5,6}\})$/, `U+${code.toString(16)}: ${shown}`);
      }
    }
    for (const text of ['', 'CN=web.example, O=Café Zürich', '東京', 'Привет', 'مرحبا', '😀', 'a\\b "c"']) {
      assert.equal(printable(text), text);
    }
  });

  test('lets nothing through that a terminal obeys or a reader cannot see, at any length', () => {
    fc.assert(
      fc.property(hostileText, fc.nat({ max: 300 }), (text, maxLength) => {
        const shown = printable(text, maxLength);
        assert.ok(Array.from(shown).every((character) => !isUnprintable(character)));
        assert.ok(shown.length <= maxLength);
        assert.ok(shown.isWellFormed());
      }),
    );
  });

  test('changes nothing the second time', () => {
    fc.assert(
      fc.property(hostileText, fc.nat({ max: 100 }), (text, maxLength) => {
        const shown = printable(text, maxLength);
        assert.equal(printable(shown, maxLength), shown);
      }),
    );
  });

  test('keeps the whole of a text that fits, and the beginning of one that does not', () => {
    assert.equal(printable('x'.repeat(256)), 'x'.repeat(256));
    assert.equal(printable('x'.repeat(257)), `${'x'.repeat(253)}...`);
    assert.equal(printable('abcdefgh', 6), 'abc...');
    assert.equal(printable('ab\x1bcd', 6), 'ab...');
    assert.equal(printable('ab😀cdef', 6), 'ab...');
    assert.equal(printable('\u202e', 6), '\\u202e');
  });

  test('does no more work for a text of 100 MB than for a short one', () => {
    assert.equal(printable('\x1b'.repeat(100_000_000), 20), '\\x1b\\x1b\\x1b\\x1b...');
  });
});

test('JSON keeps its meaning, whatever is in it', () => {
  fc.assert(
    fc.property(fc.dictionary(hostileText, fc.array(hostileText, { maxLength: 3 })), (value) => {
      const json = printableJson(JSON.stringify(value, undefined, 2));
      assert.ok(Array.from(json).every((character) => character === '\n' || !isUnprintable(character)));
      assert.deepEqual(JSON.parse(json), JSON.parse(JSON.stringify(value)));
    }),
  );
});

describe('what a program writes', () => {
  const isText = (text: string) =>
    Array.from(text).every((character) => character === '\n' || character === '\t' || !isUnprintable(character));

  test('is text, wherever it goes other than a terminal', () => {
    fc.assert(fc.property(hostileText, (text) => isText(printableOutput(text, false))));
    assert.equal(printableOutput('a\tb\n', false), 'a\tb\n');
  });

  test('is text but for colours and a redrawn line, on a terminal', () => {
    const esc = '\u001b';
    const ownUse = new RegExp(`${esc}\\[[0-9;]*m|^\\r|${esc}\\[K$`, 'g');
    fc.assert(fc.property(hostileText, (text) => isText(printableOutput(text, true).replaceAll(ownUse, ''))));
    const line = '\r\u001b[31mred\u001b[0m\u001b[K';
    assert.equal(printableOutput(line, true), line);
    assert.equal(printableOutput('a\rb\u001b[Kc\u001b]0;t\u0007', true), 'a\\x0db\\x1b[Kc\\x1b]0;t\\x07');
  });

  test('is not changed where it is escaped already', () => {
    fc.assert(
      fc.property(hostileText, fc.boolean(), (text, onTerminal) => {
        const once = printable(text);
        assert.equal(printableOutput(once, onTerminal), once);
      }),
    );
  });
});

test('a list shows its first items, and how many more there are', () => {
  assert.deepEqual(firstItems([1, 2, 3], 2), { shown: [1, 2], omitted: 1 });
  assert.deepEqual(firstItems([1, 2], 2), { shown: [1, 2], omitted: 0 });
  assert.equal(printableList(['a', 'b\n', 'c'], { maxItems: 2 }), 'a, b\\x0a, and 1 more');
  assert.equal(printableList([]), '');
});
