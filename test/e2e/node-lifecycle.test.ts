import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describe, test } from 'node:test';
import type { Network } from '../../testing/node/network.ts';
import { startNode } from '../../testing/node/node.ts';
import { whyNoNode } from '../../testing/node/requirements.ts';
import { eventually, firstLine, run } from '../../testing/support/processes.ts';

/** A test process that runs until it is killed. */
const CRASHING = `
import { startNode } from ${JSON.stringify(new URL('../../testing/node/node.ts', import.meta.url).href)};
const { directory, network, plane } = await startNode();
process.stdout.write(JSON.stringify({ directories: [directory, plane.directory], network }) + '\\n');
setInterval(() => {}, 60_000);
`;

/** What a node has left on this machine. */
async function traces(directories: readonly string[], network: Network): Promise<readonly string[]> {
  const found = directories.filter((directory) => existsSync(directory));
  const { stdout: routes } = await run('ip', ['route']);
  const { stdout: addresses } = await run('ip', ['-brief', 'address']);
  for (const line of `${routes}${addresses}`.split('\n')) {
    if (line.includes(network.nodeAddress) || line.includes(network.hostAddress)) found.push(line);
  }
  const { stdout: groups } = await run('find', ['/sys/fs/cgroup', '-name', `${basename(directories[0] ?? '')}*`]);
  found.push(...groups.split('\n').filter((line) => line !== ''));
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const [command, group] = await Promise.all(
      ['cmdline', 'cgroup'].map((file) => readFile(join('/proc', pid, file), 'utf8').catch(() => '')),
    );
    const belongs = directories.some((path) => command?.includes(path) || group?.includes(`/${basename(path)}`));
    if (belongs) found.push(`process ${pid}: ${command?.replaceAll('\0', ' ')}`);
  }
  return found;
}

describe('two nodes side by side', { skip: await whyNoNode() }, () => {
  test('one is killed together with its test: nothing of it stays, and the other runs on', async () => {
    const before = await settings();
    await using survivor = await startNode();
    const child = spawn(process.execPath, ['--input-type=module', '--eval', CRASHING], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const { directories, network } = JSON.parse(await firstLine(child.stdout)) as {
      readonly directories: readonly string[];
      readonly network: Network;
    };
    assert.notEqual(network.pods, survivor.network.pods);
    assert.notDeepEqual(await traces(directories, network), [], 'this test looks where something is to be seen');

    child.kill('SIGKILL');
    let left: readonly string[] = [];
    await eventually('no trace of the killed node', async () => {
      left = await traces(directories, network);
      return left.length === 0 || undefined;
    }).catch((cause: unknown) => {
      throw new Error(`left behind: ${left.join('\n')}`, { cause });
    });
    const ready = '{.items[*].status.conditions[?(@.type=="Ready")].status}';
    assert.equal((await survivor.plane.kubectl(['get', 'nodes', '-o', `jsonpath=${ready}`])).stdout, 'True');
    assert.deepEqual(await settings(), before, 'the kubelet changed a setting of the whole machine');
  });

  test('a node that is stopped leaves nothing either', async () => {
    const node = await startNode();
    await node.stop();
    await eventually('no trace of the node', async () => {
      return (await traces([node.directory, node.plane.directory], node.network)).length === 0 || undefined;
    });
  });
});

/** Settings of the machine that a kubelet would change. */
async function settings(): Promise<readonly string[]> {
  const names = [
    'vm/overcommit_memory',
    'vm/panic_on_oom',
    'kernel/panic',
    'kernel/panic_on_oops',
    'net/ipv4/ip_forward',
  ];
  return Promise.all(names.map((name) => readFile(join('/proc/sys', name), 'utf8')));
}
