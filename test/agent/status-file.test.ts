import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readStatus, writeStatus } from '../../src/agent/status-file.ts';
import { eventually } from '../../testing/support/processes.ts';
import { temporaryDirectory } from '../cli/run-command.ts';
import { startAgent } from './agent-process.ts';
import { credential, emptyMount } from './mount.ts';

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

  test('of an agent stands for as long as its reloads may take', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(await credential());
    const path = join(temporaryDirectory(t), 'status.json');
    const began = Date.now();
    const reloads = ['--reload', 'exec:/bin/true', '--reload', 'exec:/bin/echo', '--reload-timeout', '10m'];
    const agent = await startAgent(t, ['--dir', mount.directory, '--poll', '1s', '--status-file', path, ...reloads]);
    await agent.untilReady();
    await eventually('the status', async () => ((await readStatus(path, 0)) === undefined ? true : undefined));
    assert.equal(await readStatus(path, began + 2 * 600_000), undefined);
  });

  test('is written beside what someone else put in its place, and not into it', async (t) => {
    const directory = temporaryDirectory(t);
    const path = join(directory, 'status.json');
    const other = join(directory, 'other');
    await writeFile(other, 'other');
    await symlink(other, `${path}.new`);
    await writeStatus(path, undefined, 100);
    assert.equal(await readStatus(path, 100), undefined);
    assert.equal(await readFile(other, 'utf8'), 'other');
    // A pipe without a reader: opening it for writing would wait for one.
    execFileSync('mkfifo', [`${path}.new`]);
    await writeStatus(path, 'the credential has expired', 100);
    assert.equal(await readStatus(path, 100), 'the credential has expired');
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
