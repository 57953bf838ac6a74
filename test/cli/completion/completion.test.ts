/** The scripts, in real shells. They run `dcred` from its sources. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { COMMANDS } from '../../../src/cli/commands.ts';
import { ensurePackages } from '../../../testing/support/debian.ts';
import { run } from '../../../testing/support/processes.ts';
import { runLine } from '../frame.ts';

const MAIN = join(import.meta.dirname, '..', '..', '..', 'src', 'main.ts');
let folder: string;
let env: NodeJS.ProcessEnv;

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'dcred-test-'));
  for (const name of ['dcred', 'kubectl-dcred']) {
    writeFileSync(join(folder, name), `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`, { mode: 0o755 });
  }
  writeFileSync(join(folder, 'some-file'), '');
  env = { ...process.env, HOME: folder, KUBECONFIG: '', PATH: `${folder}${delimiter}${process.env['PATH']}` };
});
after(() => rmSync(folder, { recursive: true, force: true }));

async function script(shell: string): Promise<string> {
  const { status, stdout, stderr } = await runLine(COMMANDS, ['completion', shell]);
  assert.deepEqual([status, stderr], [0, '']);
  return stdout;
}

function lines(stdout: string): readonly string[] {
  return stdout.split('\n').filter((line) => line !== '');
}

/** What the script leaves in COMPREPLY for the last of these words. */
async function offers(words: readonly string[], more: NodeJS.ProcessEnv = {}): Promise<readonly string[]> {
  const quoted = words.map((word) => `'${word}'`).join(' ');
  const ask = `${await script('bash')}
COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}
_dcred
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = await run('bash', ['--norc', '-u', '-c', ask], { env: { ...env, ...more }, cwd: folder });
  assert.equal(stderr, '');
  return lines(stdout);
}

const missingZsh = await ensurePackages({ needs: ['zsh'], packages: ['zsh'] });
const missingFish = await ensurePackages({ needs: ['fish'], packages: ['fish'] });
if (process.env['CI'] === 'true') assert.deepEqual([missingZsh, missingFish], [undefined, undefined]);

describe('in a real bash, completion', () => {
  test('offers what dcred offers, without the descriptions', async () => {
    assert.deepEqual(await offers(['dcred', 'v']), ['verify', 'version']);
    assert.deepEqual(await offers(['dcred', 'version', '--output', '=', 'j']), ['json']);
  });

  test('offers a context by what follows its last colon, and as bash reads it back', async () => {
    const names = [
      'arn:aws:eks:eu-west-1:123456789012:cluster/edge',
      'arn:aws:eks:eu-west-1:123456789012:cluster/shop',
      'my edge',
      'a;touch pwned',
      'a$(touch pwned)',
      ':a[$(touch pwned)]',
      'red\u001b[31m',
      'two\nlines',
    ];
    const contexts = names.map((name) => ({ name, context: { cluster: 'c', user: 'u' } }));
    const clusters = [{ name: 'c', cluster: { server: 'https://127.0.0.1:1' } }];
    const config = { apiVersion: 'v1', kind: 'Config', clusters, users: [{ name: 'u', user: {} }], contexts };
    const KUBECONFIG = join(folder, 'kubeconfig');
    writeFileSync(KUBECONFIG, JSON.stringify(config));
    const offered = async (...typed: readonly string[]) => await offers(['dcred', 'status', ...typed], { KUBECONFIG });
    assert.deepEqual(await offered('--context', 'arn', ':', 'aws', ':', 'e'), [
      'eks:eu-west-1:123456789012:cluster/edge',
      'eks:eu-west-1:123456789012:cluster/shop',
    ]);
    assert.deepEqual(await offered('--context', '=', 'arn', ':'), [
      'aws:eks:eu-west-1:123456789012:cluster/edge',
      'aws:eks:eu-west-1:123456789012:cluster/shop',
    ]);
    assert.deepEqual(await offered('--context', ''), [
      ...names.slice(0, 2),
      'my\\ edge',
      'a\\;touch\\ pwned',
      'a\\$\\(touch\\ pwned\\)',
    ]);
    assert.equal(existsSync(join(folder, 'pwned')), false);
    rmSync(KUBECONFIG);
  });

  test('offers folders where a folder is expected', async () => {
    assert.deepEqual(await offers(['kubectl-dcred', 'issue', '--out', '/us']), ['/usr']);
  });
});

test('in a real bash, it is registered for both names, and leaves files to bash', async () => {
  const { stdout } = await run('bash', ['--norc', '-c', `${await script('bash')}\ncomplete -p dcred kubectl-dcred`]);
  assert.equal(stdout, 'complete -o default -F _dcred dcred\ncomplete -o default -F _dcred kubectl-dcred\n');
});

/** In its own terminal, as a user types; Ctrl-X shows the line. Tab completes although more keys have been typed already. */
const TYPED_IN_ZSH = `
zmodload zsh/zpty
zpty shell 'TERM=dumb zsh -f -i'
zpty -w shell 'autoload -U compinit && compinit -D && source ./script'
zpty -w shell 'zstyle ":completion:*" insert-tab false; show() { print -r -- "<$BUFFER>" }; zle -N show; bindkey "^X" show'
zpty -w shell 'print lo""aded'
zpty -r -m shell output '*loaded*'
for line in 'dcred versi' 'dcred version --output=j' 'kubectl-dcred inspect some' 'dcred issue --out /us'; do
  zpty -w -n shell $'\\x15'$line$'\\t\\x18'
  zpty -r -m shell output '*<*>*'
  print -r -- \${\${output#*<}%%>*}
done
zpty -d shell
`;

test('in a real zsh, completion offers commands, values and files', { skip: missingZsh ?? false }, async () => {
  writeFileSync(join(folder, 'script'), await script('zsh'));
  const { stdout } = await run('zsh', ['-f', '-c', TYPED_IN_ZSH], { env, cwd: folder });
  assert.deepEqual(lines(stdout), [
    'dcred version ',
    'dcred version --output=json ',
    'kubectl-dcred inspect some-file ',
    'dcred issue --out /usr/',
  ]);
});

describe('in a real fish, completion', { skip: missingFish ?? false }, () => {
  const offered = async (line: string) => {
    const ask = `${await script('fish')}\ncomplete -C '${line}'`;
    const { stderr, stdout } = await run('fish', ['--no-config', '-c', ask], { env, cwd: folder });
    assert.equal(stderr, '');
    return lines(stdout);
  };

  test('offers commands with what they do, values after =, and files', async () => {
    assert.deepEqual(await offered('dcred versi'), ['version\tprint the version']);
    assert.deepEqual(await offered('kubectl-dcred status --output=j'), ['--output=json']);
    assert.deepEqual(await offered('dcred inspect some'), ['some-file']);
    assert.deepEqual(await offered('dcred issue --out /us'), ['/usr/']);
  });
});

test('another shell is wrong usage', async () => {
  const { status, stderr } = await runLine(COMMANDS, ['completion', 'powershell']);
  assert.equal(status, 2);
  assert.match(stderr, /expected one of bash, zsh, fish, kubectl; got "powershell"/);
  assert.equal((await runLine(COMMANDS, ['completion', '__proto__'])).status, 2);
  assert.equal((await runLine(COMMANDS, ['completion'])).status, 2);
});
