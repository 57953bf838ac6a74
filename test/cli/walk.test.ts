/** Every command, with common mistakes: each answer is a sentence that begins with the command, never a stack trace. */
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { Command } from '../../src/cli/command.ts';
import { COMMANDS } from '../../src/cli/commands.ts';
import { tryRun } from '../../testing/support/processes.ts';
import { runLine } from './frame.ts';
import { temporaryDirectory } from './run-command.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts');
/** They retry until they are stopped, or (bundle) write down what they find. */
const RUNS_ON: readonly string[] = ['operator', 'webhook', 'signer', 'issuer', 'bundle'];

const UNFIT = /\n +at |node:internal|TypeError|undefined|\[object|NaN|<value>/;

async function answer(argv: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const outcome = await runLine(COMMANDS, argv, { env });
  const shown = argv.join(' ');
  assert.doesNotMatch(outcome.stderr, UNFIT, shown);
  if (outcome.stderr !== '') assert.ok(outcome.stderr.startsWith(`dcred ${argv[0]}: `), `${shown}: ${outcome.stderr}`);
  return outcome;
}

async function isUsage(argv: readonly string[], message: RegExp): Promise<void> {
  const { status, stderr, stdout } = await answer(argv);
  assert.deepEqual([status, stdout], [2, ''], argv.join(' '));
  assert.match(stderr, message);
  assert.ok(stderr.endsWith(`\nRun "dcred ${argv[0]} --help" for the options and an example.\n`), stderr);
}

/** Enough words for the command's positionals. */
function words({ positionals }: Command): readonly string[] {
  return Array.from({ length: positionals?.min ?? 0 }, () => 'web');
}

const NEVER_EMPTY = 'CONTEXT DIR DIRECTORY FILE IMAGE KEY NAME NAMESPACE PROTOCOL SECRET SELECTOR'.split(' ');

for (const command of COMMANDS) {
  const { name, options } = command;
  const given = [name, ...words(command)];
  describe(`dcred ${name}`, () => {
    test('refuses an option that it does not have, and suggests the nearest one', async () => {
      await isUsage([...given, '--no-such-thing'], /: there is no option --no-such-thing/);
      await isUsage([...given, '-Z'], /: there is no option -Z\n/);
      for (const option of Object.keys(options).filter((one) => one.length > 3)) {
        const slip = `${option.slice(0, -1)}${option.endsWith('q') ? 'z' : 'q'}`;
        await isUsage([...given, `--${slip}`], /: there is no option --[a-z-]+; did you mean --[a-z-]+\?\n/);
      }
    });

    test('says what an option takes where its value is missing or wrong', async () => {
      for (const [option, { choices, short, type }] of Object.entries(options)) {
        if (type === 'boolean') {
          await isUsage([...given, `--${option}=maybe`], /takes true or false; got "maybe"\n/);
          continue;
        }
        await isUsage([...given, `--${option}`], new RegExp(`: --${option} takes a value: --${option}=[A-Z]`));
        await isUsage([...given, `--${option}`, '--no-help'], /takes a value: .*; got the option --no-help after/);
        if (short !== undefined) await isUsage([...given, `-${short}`], new RegExp(`: -${short} takes a value`));
        if (choices !== undefined) await isUsage([...given, `--${option}=wrong`], /takes .*; got "wrong"\n/);
      }
    });

    test('refuses an empty value for what names something, or selects', async () => {
      for (const [option, { type, value = '' }] of Object.entries(options)) {
        if (type === 'boolean' || !NEVER_EMPTY.includes(value)) continue;
        await isUsage([...given, `--${option}=`], new RegExp(`: --${option} takes .*; got ""`));
      }
    });

    test('refuses a namespace that would lead to another path of the API', async () => {
      for (const [option, { value }] of Object.entries(options)) {
        if (value === 'NAMESPACE') await isUsage([...given, `--${option}=../x`], new RegExp(`: --${option} takes `));
      }
    });

    test('says how many words it takes', async () => {
      const { max, min } = command.positionals ?? { min: 0, max: 0 };
      if (min > 0) await isUsage([name], new RegExp(`: expected .*, found none: dcred ${name} [^ ]`));
      if (max < 9) await isUsage([name, ...Array.from({ length: max + 1 }, () => 'web')], /: (unexpected|expected) /);
    });

    test('is suggested where its name is misspelt', async () => {
      for (const typed of [name.toUpperCase(), `${name}s`, name.replaceAll('-', '_'), name.slice(0, -1)]) {
        if (COMMANDS.some((one) => one.name === typed)) continue;
        const { status, stderr } = await runLine(COMMANDS, [typed]);
        assert.equal(status, 2);
        const line = `dcred: there is no command "${typed}"; did you mean "`;
        assert.ok(stderr.startsWith(line), stderr);
        // "issues" is as near to issue as to issuer.
        if (name.length > 3 && COMMANDS.filter((one) => one.name.startsWith(name.slice(0, 2))).length === 1)
          assert.ok(stderr.startsWith(`${line}${name}"?\n`), stderr);
      }
    });

    if ('kubeconfig' in options && name !== 'signer') {
      test('names the kubeconfig that is missing', async (t) => {
        const folder = temporaryDirectory(t);
        mkdirSync(join(folder, 'directory'));
        for (const file of ['empty', 'binary']) writeFileSync(join(folder, file), file === 'empty' ? '' : '\0\x01\xff');
        writeFileSync(join(folder, 'url'), kubeconfig('not a url'));
        const line = [...clusterLine(command)];
        for (const [file, message] of [
          ['missing', /no kubeconfig: .*missing does not exist; name another with --kubeconfig or KUBECONFIG\n/],
          ['directory', /no kubeconfig: .*directory is a directory; name another/],
          ['empty', /expected a context to be current in .*empty, found none; name one with --context/],
          ['binary', /expected a context to be current in .*binary|binary is not a valid kubeconfig/],
          ['url', /expected the cluster's server as https:\/\/HOST:PORT in .*url, found "not a url"\n/],
        ] as const) {
          const { status, stderr } = await answer([...line, `--kubeconfig=${join(folder, file)}`]);
          assert.equal(status, 1, stderr);
          assert.match(stderr, message);
        }
        assert.match((await answer(line, { HOME: folder })).stderr, /no kubeconfig: .*config does not exist/);
      });
    }

    if ('kubeconfig' in options && !RUNS_ON.includes(name)) {
      test('says that nothing answers at the address of the cluster', async (t) => {
        const folder = temporaryDirectory(t);
        const file = join(folder, 'kubeconfig');
        writeFileSync(file, kubeconfig('https://127.0.0.1:1'));
        const { stderr, stdout } = await answer([...clusterLine(command), `--kubeconfig=${file}`]);
        assert.match(stderr + stdout, /127\.0\.0\.1:1 refused the connection: nothing listens there \(ECONNREFUSED\)/);
        if (stdout === '') assert.match(stderr, /\nCheck the server of the kubeconfig, /);
        assert.deepEqual(readdirSync(folder), ['kubeconfig']);
      });
    }
  });
}

/** What the command needs before it looks for a cluster. */
function clusterLine({ name }: Command): readonly string[] {
  const more: Readonly<Record<string, readonly string[]>> = {
    'dev-ca': ['--dns', 'web.example', '--secret', 'web-tls'],
    inspect: ['secret/web'],
    renew: ['web'],
    suspend: ['web'],
    resume: ['web'],
  };
  return [name, ...(more[name] ?? [])];
}

function kubeconfig(server: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'test',
    clusters: [{ name: 'test', cluster: { server } }],
    users: [{ name: 'test', user: { token: 'test' } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
  });
}

describe('a file that cannot be what is expected', () => {
  const FILES = {
    missing: undefined,
    directory: undefined,
    empty: '',
    binary: Buffer.from([0, 1, 0xff, 0x2d]),
    words: 'hello\n',
  } as const;
  const lines = (file: string): readonly (readonly string[])[] => [
    ['issue', '--cert', file, '--key', file, '--out', 'out'],
    ['verify', '--cert', file, '--dc', file],
    ['inspect', file],
    ['csr', '--dns', 'web.example', '--key', file, '--out', 'out'],
    ['probe', '127.0.0.1:1', '--ca', file],
    ['agent', '--check', '--status-file', file],
    ['signer', '--config', file, '--audit-log', 'log', '--tls-cert', file, '--tls-key', file],
    ['issue', '--signer', 'https://127.0.0.1:1', '--signer-token', file, '--certificate', 'a/b', '--out', 'out'],
  ];

  for (const [kind, content] of Object.entries(FILES)) {
    test(`is refused by name: ${kind}`, async (t) => {
      const folder = temporaryDirectory(t);
      const file = join(folder, `the-${kind}`);
      if (kind === 'directory') mkdirSync(file);
      if (content !== undefined) writeFileSync(file, content);
      const before = readdirSync(folder);
      const here = (word: string) => (word === 'out' || word === 'log' ? join(folder, word) : word);
      for (const line of lines(file)) {
        const { status, stderr, stdout } = await answer(line.map(here));
        assert.deepEqual([status, stdout], [1, ''], line.join(' '));
        if (!/signer at https/.test(stderr)) assert.ok(stderr.includes(file), stderr);
        assert.doesNotMatch(stderr, /\bE[A-Z]{4,}\b(?!\))/, 'words, not the code of an error alone');
        assert.deepEqual(readdirSync(folder), before, 'nothing is left behind');
      }
      if (kind === 'missing' || kind === 'directory') {
        const { status, stderr } = await answer(['signer', 'verify-log', file]);
        assert.equal(status, 1);
        assert.match(stderr, /the-missing does not exist|the-directory is a directory/);
      }
    });
  }
});

test('a directory that cannot be created is an error in one sentence, whatever its parent is', {
  skip: process.platform === 'linux' ? false : 'needs /proc',
}, async (t) => {
  const folder = temporaryDirectory(t);
  writeFileSync(join(folder, 'file'), '');
  for (const out of ['/proc/dcred/out', join(folder, 'file', 'out')]) {
    const { status, stderr } = await answer(['csr', '--dns', 'web.example', '--out', out]);
    assert.equal(status, 1);
    assert.match(stderr, /^dcred csr: cannot write the files: .*out (does not exist|is not a directory)/);
  }
});

describe('standard output', { skip: process.platform === 'linux' ? false : 'needs a shell and /dev/full' }, () => {
  const shell = (line: string) => tryRun('bash', ['-c', line.replaceAll('DCRED', `"${process.execPath}" "${MAIN}"`)]);

  test('without a reader leaves the exit status as it is, and prints no error', async () => {
    const closed = await shell(
      'DCRED crd | true; echo "$PIPESTATUS"; DCRED inspect /nowhere 2>&1 | true; echo "$PIPESTATUS"',
    );
    assert.deepEqual([closed.stdout, closed.stderr], ['0\n1\n', '']);
  });

  test('that cannot be written is a failure', async () => {
    const full = await shell('DCRED crd >/dev/full');
    assert.deepEqual(
      [full.status, full.stderr],
      [1, 'dcred: the output cannot be written: no space left on the device\n'],
    );
  });
});
