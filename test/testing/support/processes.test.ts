import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { describe, test } from 'node:test';
import { freePort } from '../../../testing/support/ports.ts';
import {
  CommandFailedError,
  endChild,
  eventually,
  firstLine,
  isAlive,
  run,
  tryRun,
} from '../../../testing/support/processes.ts';

describe('run', () => {
  test('gives a command its input and collects its output', async () => {
    assert.deepEqual(await run('sh', ['-c', 'cat; echo oops >&2'], { input: 'hello' }), {
      status: 0,
      stdout: 'hello',
      stderr: 'oops\n',
    });
  });

  test('rejects with what the command said', async () => {
    await assert.rejects(run('sh', ['-c', 'echo "no such thing" >&2; exit 3']), (error) => {
      assert.ok(error instanceof CommandFailedError);
      assert.match(error.message, /^sh -c .* ended with status 3: no such thing$/);
      assert.equal(error.status, 3);
      return true;
    });
  });

  test('rejects when there is no such command', async () => {
    await assert.rejects(run('no-such-command-here', []), { code: 'ENOENT' });
  });

  test('kills a command that takes too long', async () => {
    await assert.rejects(run('sleep', ['60'], { timeoutMs: 20 }), { message: /sleep 60 was killed/ });
  });

  test('kills a command when the signal is aborted', async () => {
    const signal = AbortSignal.timeout(20);
    await assert.rejects(run('sleep', ['60'], { signal }), { name: 'AbortError' });
  });

  test('tolerates a command that ignores its input', async () => {
    assert.equal((await tryRun('false', [], { input: 'x'.repeat(1_000_000) })).status, 1);
  });
});

describe('endChild', () => {
  test('lets a process end by itself on SIGTERM', async () => {
    const child = spawn('sh', ['-c', 'trap "exit 7" TERM; echo up; while :; do sleep 0.01; done']);
    await firstLine(child.stdout);
    await endChild(child);
    assert.equal(child.exitCode, 7);
    assert.ok(!isAlive(child.pid ?? 0));
  });

  test('kills one that does not', async () => {
    const child = spawn('sh', ['-c', 'trap "" TERM; echo up; while :; do sleep 0.01; done']);
    await firstLine(child.stdout);
    await endChild(child, { graceMs: 30 });
    assert.equal(child.signalCode, 'SIGKILL');
  });

  test('returns when the process has ended already', async () => {
    const child = spawn('true');
    await endChild(child);
    await endChild(child);
    assert.notEqual(child.exitCode ?? child.signalCode, null);
  });
});

test('eventually names what it waited for when it gives up', async () => {
  const never = eventually('pigs to fly', async () => undefined, { timeoutMs: 10, intervalMs: 1 });
  await assert.rejects(never, { message: 'timed out after 10 ms waiting for pigs to fly' });
});

test('a free port can be bound and is below those of outgoing connections', async () => {
  const port = await freePort();
  assert.ok(port >= 20_000 && port < 32_768);
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  await new Promise((resolve) => server.close(resolve));
});
