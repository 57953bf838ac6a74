/** What messages, help texts and alerts tell users to run is what kubectl and dcred understand: a wrong option would stop them at the worst moment. */
import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { COMMON_OPTIONS } from '../../src/cli/arguments.ts';
import { COMMANDS } from '../../src/cli/commands.ts';
import { ensureBinaries } from '../../testing/controlplane/binaries.ts';
import { tryRun } from '../../testing/support/processes.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const SOURCES = ['src/**/*.ts', 'charts/dcred/files/*.yaml', 'charts/dcred/templates/NOTES.txt'];
const COMMENT = /^\s*(?:\/\/|\/?\*|#)/;
const KUBECTL = /\bkubectl (?:-n \S+ )?(?:apply|auth|create|delete|describe|get|logs|patch|rollout)\b[^'"`)\n|;:]*/g;
const DCRED = new RegExp(`\\bdcred (?:${COMMANDS.map(({ name }) => name).join('|')})\\b[^'"\`)\\n|;:]*`, 'g');
/** Options are read before a server is called, and nothing listens there. */
const NOWHERE = '--server=https://127.0.0.1:1';

async function commands(pattern: RegExp): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for await (const path of glob(SOURCES, { cwd: ROOT })) {
    const lines = (await readFile(join(ROOT, path), 'utf8')).split('\n').filter((line) => !COMMENT.test(line));
    const text = lines.join('\n').replaceAll(/\$\{[^}]*\}|\{\{[^}]*\}\}/g, 'x');
    for (const [command] of text.matchAll(pattern)) found.add(command.trim());
  }
  return found;
}

test('every command of kubectl in them has options that kubectl knows', async () => {
  const { kubectl } = await ensureBinaries(['kubectl']);
  const all = await commands(KUBECTL);
  assert.ok(all.size > 10, [...all].join('\n'));
  for (const command of all) {
    const env = { ...process.env, KUBECONFIG: join(ROOT, 'no-such-file') };
    const { stderr } = await tryRun(kubectl, [...command.split(/\s+/).slice(1), NOWHERE], { env });
    assert.doesNotMatch(stderr, /unknown (?:shorthand )?flag|unknown command/, command);
  }
});

test('every command of dcred in them has options that it knows', async () => {
  const all = await commands(DCRED);
  assert.ok(all.size > 10, [...all].join('\n'));
  for (const text of all) {
    const command = COMMANDS.find(({ name }) => name === text.split(' ')[1]);
    const options = { ...command?.options, ...COMMON_OPTIONS };
    const known = Object.entries(options).flatMap(([name, { short }]) => [`--${name}`, `-${short}`]);
    for (const [, option = ''] of text.matchAll(/ (--?[a-zA-Z][a-z-]*)/g)) assert.ok(known.includes(option), text);
  }
});
