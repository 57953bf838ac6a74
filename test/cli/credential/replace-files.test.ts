import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type NewFile, replaceFiles } from '../../../src/cli/credential/replace-files.ts';

/** Enough to meet between any two steps: two that shared their temporary names failed together in every sixth round. */
const ROUNDS = 30;
const AT_ONCE = 8;

test('of many at once that may replace nothing, exactly one writes its set', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'dcred-test-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = (name: string, isFirst = false): NewFile => ({ name, content: Buffer.from(name), mode: 0o600, isFirst });
  const files = [file('key', true), file('note'), file('request')];
  const { signal } = new AbortController();
  for (let round = 0; round < ROUNDS; round += 1) {
    const target = join(directory, String(round));
    mkdirSync(target);
    const all = await Promise.allSettled(
      Array.from({ length: AT_ONCE }, () => replaceFiles(target, files, { obsolete: [], signal })),
    );
    const codes = all.flatMap((one) => (one.status === 'rejected' ? [(one.reason as NodeJS.ErrnoException).code] : []));
    assert.deepEqual(
      codes,
      Array.from({ length: AT_ONCE - 1 }, () => 'EEXIST'),
    );
    assert.deepEqual(readdirSync(target).sort(), ['key', 'note', 'request']);
  }
});

test('of several at once in a directory with other files, one has written all that is there in the end', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'dcred-test-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const { signal } = new AbortController();
  const names = Array.from({ length: 24 }, (_, index) => `file${index}`);
  /** Every other set lacks the last file, as a set without fizz.pem does. */
  const setOf = (writer: number) => (writer % 2 === 0 ? names : names.slice(0, -1));
  for (let round = 0; round < 8; round += 1) {
    const target = join(directory, String(round));
    mkdirSync(target);
    writeFileSync(join(target, 'other'), '');
    await Promise.all(
      Array.from({ length: 3 }, (_, writer) => {
        const files = setOf(writer).map((name) => ({ name, content: Buffer.from(String(writer)), mode: 0o600 }));
        return replaceFiles(target, files, { obsolete: names.filter((name) => !setOf(writer).includes(name)), signal });
      }),
    );
    const found = readdirSync(target).filter((name) => name !== 'other');
    const [writer, ...more] = new Set(found.map((name) => readFileSync(join(target, name), 'utf8')));
    assert.deepEqual(more, [], `round ${round}: files of several sets`);
    assert.deepEqual(found.sort(), setOf(Number(writer)).toSorted());
  }
});

test('a file of another process, which came while the set was written, stays', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'dcred-test-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const target = join(directory, 'web');
  mkdirSync(target);
  writeFileSync(join(target, 'key'), 'old');
  const { signal } = new AbortController();
  // Checked before each file of the set is written, and after the directory was read.
  t.mock.method(signal, 'throwIfAborted', () => writeFileSync(join(target, 'other'), 'kept'));
  await replaceFiles(target, [{ name: 'key', content: Buffer.from('new'), mode: 0o600 }], { obsolete: [], signal });
  assert.ok(existsSync(join(target, 'other')), 'the other file is there');
  assert.equal(readFileSync(join(target, 'key'), 'utf8'), 'new');
  assert.deepEqual(readdirSync(directory), ['web']);
});

test('a directory where a file of the set belongs is refused, and nothing changes', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'dcred-test-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const { signal } = new AbortController();
  const names = ['a', 'b', 'c'];
  for (const other of [true, false]) {
    for (const wrong of [...names, 'obsolete']) {
      const target = join(directory, `${wrong}-${other}`);
      mkdirSync(join(target, wrong), { recursive: true });
      writeFileSync(join(target, wrong, 'kept'), '');
      for (const name of names) if (name !== wrong) writeFileSync(join(target, name), 'old');
      if (other) writeFileSync(join(target, 'other'), '');
      const before = readdirSync(target);
      const files = names.map((name) => ({ name, content: Buffer.from('new'), mode: 0o600 }));
      await assert.rejects(replaceFiles(target, files, { obsolete: ['obsolete'], signal }), {
        message: `${wrong} in it is a directory, expected a file: remove it`,
      });
      assert.deepEqual(readdirSync(target), before);
      assert.ok(existsSync(join(target, wrong, 'kept')));
      for (const name of names) if (name !== wrong) assert.equal(readFileSync(join(target, name), 'utf8'), 'old');
    }
  }
});
