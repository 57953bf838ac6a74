/** What messages, help texts and alerts tell users to run is what kubectl understands: a wrong option would stop them at the worst moment. */
import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { ensureBinaries } from '../../testing/controlplane/binaries.ts';
import { tryRun } from '../../testing/support/processes.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const SOURCES = ['src/**/*.ts', 'charts/dcred/files/*.yaml', 'charts/dcred/templates/NOTES.txt'];
const COMMENT = /^\s*(?:\/\/|\/?\*|#)/;
const COMMAND = /\bkubectl (?:-n \S+ )?(?:apply|auth|create|delete|describe|get|logs|patch|rollout)\b[^'"`)\n|;:]*/g;
/** Options are read before a server is called, and nothing listens there. */
const NOWHERE = '--server=https://127.0.0.1:1';

async function commands(): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for await (const path of glob(SOURCES, { cwd: ROOT })) {
    const lines = (await readFile(join(ROOT, path), 'utf8')).split('\n').filter((line) => !COMMENT.test(line));
    const text = lines.join('\n').replaceAll(/\$\{[^}]*\}|\{\{[^}]*\}\}/g, 'x');
    for (const [command] of text.matchAll(COMMAND)) found.add(command.trim());
  }
  return found;
}

test('every command of kubectl in them has options that kubectl knows', async () => {
  const { kubectl } = await ensureBinaries(['kubectl']);
  const all = await commands();
  assert.ok(all.size > 10, [...all].join('\n'));
  for (const command of all) {
    const env = { ...process.env, KUBECONFIG: join(ROOT, 'no-such-file') };
    const { stderr } = await tryRun(kubectl, [...command.split(/\s+/).slice(1), NOWHERE], { env });
    assert.doesNotMatch(stderr, /unknown (?:shorthand )?flag|unknown command/, command);
  }
});
