/** Every field that dcred logs is kept in a support archive: without them its logs say that something failed, and not what. */
import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { allowedLogLine, LOG_FIELDS } from '../../src/bundle/allowed.ts';
import { createLogger } from '../../src/cli/options/server-options.ts';

const SOURCES = join(import.meta.dirname, '../../src');
const CALL = /\b(?:#?log|logger)(?:\[[^\]]*\]|\.(?:debug|info|warn|error|child))\(\s*(\{[^{}]*\}|[\w.#]+)/g;
/** Fields that a call takes from what is no literal. */
const OBJECTS: Readonly<Record<string, readonly string[]>> = {
  fields: ['namespace', 'resource', 'reason'],
  issued: ['namespace', 'resource', 'pod', 'reason'],
  secret: ['namespace', 'name'],
};

/** Names of the properties of an object literal without nested ones; of a spread, the properties of the variable. */
function names(literal: string, source: string): readonly string[] {
  return literal
    .slice(1, -1)
    .replaceAll(/\([^()]*\)/g, '')
    .split(',')
    .flatMap((part) => {
      const [, spread, name] = /^\s*(?:\.\.\.(\w+)|(\w+))/.exec(part) ?? [];
      return spread !== undefined ? ofVariable(spread, source) : name !== undefined ? [name] : [];
    });
}

function ofVariable(variable: string, source: string): readonly string[] {
  const [, literal] = new RegExp(`\\b${variable} = (\\{[^{}]*\\})`).exec(source) ?? [];
  const found = literal === undefined ? OBJECTS[variable] : names(literal, source);
  return found ?? assert.fail(`what "${variable}" adds to a log line cannot be told: name its fields in this test`);
}

test('every field of a log line is kept in a support archive', async () => {
  const lost: string[] = [];
  let calls = 0;
  for await (const file of glob('**/*.ts', { cwd: SOURCES })) {
    const source = await readFile(join(SOURCES, file), 'utf8');
    for (const [, fields = ''] of source.matchAll(CALL)) {
      calls += 1;
      const logged = fields.startsWith('{') ? names(fields, source) : ofVariable(fields, source);
      const unknown = logged.filter((name) => name !== 'err' && !(LOG_FIELDS as readonly string[]).includes(name));
      lost.push(...unknown.map((name) => `${file}: ${name}`));
    }
  }
  assert.ok(calls > 80, `${calls} calls found`);
  assert.deepEqual(lost, []);
});

test("an error's class, code and message are kept, and nothing else of it", () => {
  let written = '';
  const output = { write: (text: string) => (written += text) };
  const signal = new AbortController().signal;
  const log = createLogger('info', { stdout: output, stderr: output, env: {}, signal, now: () => Date.now() });
  const error = Object.assign(new RangeError('what is wrong'), { code: 'Wrong', body: 'of a stranger' });
  log.warn({ key: 'edge/web', err: error, other: 'of a stranger' }, 'reconcile failed, retrying');
  const kept = allowedLogLine(written.trim()) as Readonly<Record<string, unknown>>;
  assert.deepEqual(kept['err'], { class: 'RangeError', code: 'Wrong', message: 'what is wrong' });
  assert.equal(kept['key'], 'edge/web');
  assert.doesNotMatch(JSON.stringify(kept), /of a stranger/);
});
