import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { JsonLines } from '../../src/kubernetes/json-lines.ts';

/** The bytes, cut at these places. */
function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  const chunks: Uint8Array[] = [];
  let start = 0;
  for (const end of [...ends, bytes.length]) {
    chunks.push(bytes.subarray(start, end));
    start = end;
  }
  return chunks;
}

describe('JsonLines', () => {
  test('gives every value back, wherever the stream is cut', () => {
    const values = fc.array(fc.jsonValue({ stringUnit: 'grapheme', maxDepth: 2 }), { maxLength: 12 });
    fc.assert(
      fc.property(values, fc.array(fc.nat(), { maxLength: 40 }), (expected, places) => {
        const bytes = Buffer.from(expected.map((value) => `${JSON.stringify(value)}\n`).join(''));
        const lines = new JsonLines('a test', 16 * 1024 * 1024);
        const found = cut(bytes, places).flatMap((chunk) => lines.push(chunk));
        assert.deepEqual(
          found.map((line) => JSON.parse(line)),
          JSON.parse(JSON.stringify(expected)),
        );
        assert.equal(lines.pending, 0);
      }),
      { numRuns: 500 },
    );
  });

  test('gives every value back when every byte comes alone', () => {
    const lines = new JsonLines('a test', 16 * 1024 * 1024);
    const found = [...Buffer.from('{"a":"\u{1F511}é"}\r\n\n\n"ü"\n')].flatMap((byte) =>
      lines.push(Uint8Array.of(byte)),
    );
    assert.deepEqual(found, ['{"a":"\u{1F511}é"}', '"ü"']);
  });

  test('knows that the last line has not ended', () => {
    const lines = new JsonLines('a test', 16 * 1024 * 1024);
    assert.deepEqual(lines.push(Buffer.from('{"a":1}\n{"b":')), ['{"a":1}']);
    assert.equal(lines.pending, 5);
  });

  test('refuses a line that never ends before it fills the memory', () => {
    const lines = new JsonLines('a test', 1000);
    const chunk = Buffer.alloc(100, 'x');
    for (let i = 0; i < 10; i++) lines.push(chunk);
    assert.throws(() => lines.push(chunk), { reason: 'InvalidResponse', message: /at most 1000 bytes from a test/ });
  });

  test('takes a long line in small pieces in a time that grows with its length', () => {
    const lines = new JsonLines('a test', 16 * 1024 * 1024);
    const piece = Buffer.alloc(1024, 'x');
    for (let i = 0; i < 16 * 1024; i++) lines.push(piece);
    const [line] = lines.push(Buffer.from('\n'));
    assert.equal(line?.length, 16 * 1024 * 1024);
  });
});
