/**
 * No listener of the tests and their tools parses, asserts or throws. What is thrown in a listener fails no promise: it ends the process,
 * or fails whatever test happens to run, and only on the day on which a peer is cut off in the middle of a line. Such code reads in a loop
 * (`for await`), or keeps what it received for the test to judge.
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const ROOT = join(import.meta.dirname, '..');
const LISTENER = /\.(?:on|once|addListener)\('|\b(?:createServer|setTimeout|setInterval|request)\(/g;
const THROWS = /\bJSON\.parse\(|\bthrow\b|\bassert[.(]/;

/** From the opening parenthesis to the one that closes it, or to the end. */
function callAt(text: string, start: number): string {
  let depth = 0;
  for (let at = text.indexOf('(', start); at < text.length; at += 1) {
    if (text[at] === '(') depth += 1;
    if (text[at] === ')') depth -= 1;
    if (depth === 0) return text.slice(start, at + 1);
  }
  return text.slice(start);
}

function throwingListenersIn(text: string): readonly number[] {
  return [...text.matchAll(LISTENER)]
    .filter(({ index }) => THROWS.test(callAt(text, index)))
    .map(({ index }) => text.slice(0, index).split('\n').length);
}

const files = globSync('{test,testing,scripts,bench}/**/*.ts', { cwd: ROOT, exclude: ['test/listeners.test.ts'] });

test('no listener throws', () => {
  const found = files.flatMap((file) =>
    throwingListenersIn(readFileSync(join(ROOT, file), 'utf8')).map((line) => `${file}:${line}`),
  );
  assert.deepEqual(found, []);
});

test('the rule sees a listener that parses, asserts or throws, and no other', () => {
  const seen = [
    "socket.on('data', (chunk) => take(JSON.parse(chunk)));",
    "stream.setEncoding('utf8').once('line', (line) => {\n  (a)(b);\n  throw new Error(line);\n});",
    'createServer((request, response) => {\n  assert.equal(request.method, "GET");\n});',
    'setInterval(() => assert(done), 10);',
  ];
  for (const text of seen) assert.deepEqual(throwingListenersIn(text), [1], text);
  const fine = [
    "socket.on('data', (chunk) => chunks.push(chunk));\nassert.equal(JSON.parse(chunks), 1);",
    'for await (const chunk of socket) take(JSON.parse(chunk));',
  ];
  for (const text of fine) assert.deepEqual(throwingListenersIn(text), [], text);
});
