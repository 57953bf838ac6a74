import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readStatus, writeStatus } from '../../src/agent/status-file.ts';
import { temporaryDirectory } from '../cli/run-command.ts';

describe('the status file', () => {
  test('says whether the agent is ready, until the next write is overdue', async (t) => {
    const path = join(temporaryDirectory(t), 'status.json');
    assert.match((await readStatus(path, 0)) ?? '', /there is no status/);
    await writeStatus(path, undefined, 100);
    assert.equal(await readStatus(path, 100), undefined);
    assert.match((await readStatus(path, 101)) ?? '', /has stopped writing/);
    await writeStatus(path, 'the credential has expired', 200);
    assert.equal(await readStatus(path, 150), 'the credential has expired');
  });

  test('of any content is a reason, and never an error', async (t) => {
    const path = join(temporaryDirectory(t), 'status.json');
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.json(), fc.string()), async (text) => {
        await writeFile(path, text);
        assert.equal(typeof (await readStatus(path, 0)), 'string');
      }),
    );
  });
});
