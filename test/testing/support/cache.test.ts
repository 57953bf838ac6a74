import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { buildOnce, cacheDirectory } from '../../../testing/support/cache.ts';

const before = process.env['XDG_CACHE_HOME'];
let home: string;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'dcred-cache-'));
  process.env['XDG_CACHE_HOME'] = home;
});

afterEach(() => {
  rmSync(home, { recursive: true });
  if (before === undefined) delete process.env['XDG_CACHE_HOME'];
  else process.env['XDG_CACHE_HOME'] = before;
});

const build = (text: string) => (directory: string) => writeFile(join(directory, 'result'), text);

test('a thing is built once for the same inputs', async () => {
  const first = await buildOnce('thing', 'source 1', build('one'));
  assert.equal(first, cacheDirectory('thing', 'source 1'));
  assert.equal(await buildOnce('thing', 'source 1', build('never')), first);
  assert.equal(readFileSync(join(first, 'result'), 'utf8'), 'one');
  const second = await buildOnce('thing', 'source 2', build('two'));
  assert.notEqual(second, first);
});

test('a build that fails leaves nothing, and may be tried again', async () => {
  const failing = async (directory: string) => {
    await writeFile(join(directory, 'half'), '');
    throw new Error('compiler: no');
  };
  await assert.rejects(buildOnce('thing', 'source', failing), /compiler: no/);
  assert.deepEqual(readdirSync(dirname(cacheDirectory('thing', 'source'))), []);
  await buildOnce('thing', 'source', build('one'));
});

test('builds at the same time all get one whole result', async () => {
  const directories = await Promise.all(['a', 'b', 'c'].map((text) => buildOnce('thing', 'source', build(text))));
  assert.equal(new Set(directories).size, 1);
  assert.equal(readdirSync(dirname(directories[0] ?? '')).length, 1);
});
