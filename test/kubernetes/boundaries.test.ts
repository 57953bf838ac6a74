/** The architecture's import rules, held for the whole of src. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { describe, test } from 'node:test';

const SRC = resolve(import.meta.dirname, '../../src');
const MAX_LINES = 400;

/** What each folder may import beside itself. A folder that is not here has no rule yet, which is an error. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  credential: [],
  kubernetes: [],
  api: ['credential'],
  operator: ['api', 'credential', 'kubernetes'],
  admission: ['api', 'credential', 'kubernetes'],
  agent: ['api', 'credential', 'kubernetes'],
  renew: ['api', 'kubernetes', 'operator'],
  cli: ['admission', 'agent', 'api', 'credential', 'kubernetes', 'operator', 'renew', 'version.ts'],
  'main.ts': ['cli'],
  'version.ts': [],
};

/** Imports and re-exports, types included, and dynamic ones. Comments may look like one: they then obey the rule too. */
const SPECIFIER = /(?:\bfrom\s*|\bimport\s*\(?\s*)(['"])(\.[^'"\n]*)\1/g;

function importsOf(text: string): readonly string[] {
  return [...text.matchAll(SPECIFIER)].map(([, , specifier = '']) => specifier);
}

/** The top folder (or file) of src that a path is in. */
function partOf(path: string): string {
  return relative(SRC, path).split(sep)[0] ?? '';
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => join(SRC, file));

describe('src', () => {
  test('holds the folders that have a rule, and no others', () => {
    const parts = new Set(files.map(partOf));
    assert.deepEqual(
      [...parts].filter((part) => MAY_IMPORT[part] === undefined),
      [],
    );
  });

  for (const part of new Set(files.map(partOf))) {
    const allowed = MAY_IMPORT[part] ?? [];
    test(`${part} imports ${allowed.length === 0 ? 'nothing of ours' : `only ${allowed.join(', ')}`} beside itself`, () => {
      const violations = files
        .filter((file) => partOf(file) === part)
        .flatMap((file) => importsOf(readFileSync(file, 'utf8')).map((specifier) => ({ file, specifier })))
        .filter(({ file, specifier }) => {
          const target = partOf(resolve(dirname(file), specifier));
          return target !== part && !allowed.includes(target);
        })
        .map(({ file, specifier }) => `${relative(SRC, file)} imports ${specifier}`);
      assert.deepEqual(violations, []);
    });
  }

  test(`no file has more than ${MAX_LINES} lines`, () => {
    const long = files
      .map((file) => ({ file: relative(SRC, file), lines: readFileSync(file, 'utf8').split('\n').length }))
      .filter(({ lines }) => lines > MAX_LINES);
    assert.deepEqual(long, []);
  });
});

test('the rule sees every way to import', () => {
  const text = `
    import { a } from './a.ts';
    import type { b } from "../b.ts";
    import './c.ts';
    export { d } from './d.ts';
    export * from '../../e.ts';
    const f = await import('./f.ts');
    import {
      g,
    } from './g.ts';
    import h from 'node:fs';
    type I = import('./i.ts').I;
  `;
  const found = ['./a.ts', '../b.ts', './c.ts', './d.ts', '../../e.ts', './f.ts', './g.ts', './i.ts'];
  assert.deepEqual(importsOf(text), found);
});
