import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { COMMANDS } from '../../src/cli/commands.ts';
import { run } from '../../testing/support/processes.ts';
import { runLine } from './frame.ts';

async function script(shell: string): Promise<string> {
  const { status, stdout, stderr } = await runLine(COMMANDS, ['completion', shell]);
  assert.deepEqual([status, stderr], [0, '']);
  return stdout;
}

/** What bash offers for the last of these words. */
async function offers(words: readonly string[]): Promise<readonly string[]> {
  const quoted = words.map((word) => `'${word}'`).join(' ');
  const ask = `${await script('bash')}
COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}
_dcred
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = await run('bash', ['--norc', '-u', '-c', ask]);
  assert.equal(stderr, '');
  return stdout.split('\n').filter((line) => line !== '');
}

describe('in a real bash, completion', () => {
  test('offers the commands', async () => {
    assert.deepEqual(
      await offers(['dcred', '']),
      COMMANDS.map(({ name }) => name),
    );
    assert.deepEqual(await offers(['dcred', 'v']), ['verify', 'version']);
    assert.deepEqual(await offers(['dcred', 'x']), []);
  });

  for (const { name, options } of COMMANDS.filter((one) => one.name !== 'completion')) {
    test(`offers the options of ${name}`, async () => {
      const expected = [...Object.keys(options), 'help'].map((option) => `--${option}`);
      assert.deepEqual([...(await offers(['dcred', name, '--']))].sort(), expected.sort());
    });
  }

  test('offers the values of an option that has choices, by its long and its short name', async () => {
    assert.deepEqual(await offers(['dcred', 'version', '--output', '']), ['json', 'text']);
    assert.deepEqual(await offers(['dcred', 'version', '-o', 'j']), ['json']);
    assert.deepEqual(await offers(['dcred', 'issue', '--usage', '']), ['Server', 'Client']);
  });

  test('offers the shells', async () => {
    assert.deepEqual(await offers(['dcred', 'completion', '']), ['bash', 'zsh', 'fish']);
  });

  test('leaves files to bash', async () => {
    assert.deepEqual(await offers(['dcred', 'inspect', 'some-file']), []);
  });

  test('is registered for both names of the executable', async () => {
    const { stdout } = await run('bash', ['--norc', '-c', `${await script('bash')}\ncomplete -p dcred kubectl-dcred`]);
    assert.equal(stdout, 'complete -o default -F _dcred dcred\ncomplete -o default -F _dcred kubectl-dcred\n');
  });
});

for (const shell of ['zsh', 'fish'] as const) {
  const isMissing = spawnSync(shell, ['--version']).error !== undefined;
  test(`a real ${shell} loads the script`, { skip: isMissing && `${shell} is not installed` }, async () => {
    const options = shell === 'zsh' ? ['-f'] : ['--no-config'];
    const prelude = shell === 'zsh' ? 'autoload -U compinit && compinit -D\n' : '';
    const { stderr } = await run(shell, [...options, '-c', prelude + (await script(shell))]);
    assert.equal(stderr, '');
  });
}

test('the script for fish quotes everything that it says', async () => {
  for (const line of (await script('fish')).trimEnd().split('\n')) {
    assert.match(line, /^complete -c dcred /);
    assert.equal((line.match(/'/g) ?? []).length % 2, 0, line);
  }
});

test('the script for zsh is the one for bash, by its own emulation', async () => {
  assert.equal(await script('zsh'), `autoload -U +X bashcompinit && bashcompinit\n${await script('bash')}`);
});

test('another shell is wrong usage', async () => {
  const { status, stderr } = await runLine(COMMANDS, ['completion', 'powershell']);
  assert.equal(status, 2);
  assert.match(stderr, /expected one of bash, zsh, fish; got "powershell"/);
  assert.equal((await runLine(COMMANDS, ['completion'])).status, 2);
});
