import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type NewFile, replaceFiles } from '../../src/cli/replace-files.ts';

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
