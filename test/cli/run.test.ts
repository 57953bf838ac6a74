import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { CommandError, UsageError } from '../../src/cli/command.ts';
import { COMMANDS } from '../../src/cli/commands.ts';
import { programName } from '../../src/cli/run.ts';
import { tryRun } from '../../testing/support/processes.ts';
import { command, runLine } from './frame.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts');

describe('the exit status is', () => {
  test('0 on success', async () => {
    assert.deepEqual(await runLine([command()], ['probe']), { status: 0, stdout: '', stderr: '' });
  });

  test('1 where the answer is no, without another message', async () => {
    const no = command({ run: async () => 1 });
    assert.deepEqual(await runLine([no], ['probe']), { status: 1, stdout: '', stderr: '' });
  });

  test('1 with one line where it failed', async () => {
    const failing = command({ run: () => Promise.reject(new CommandError('the file is gone: make it again')) });
    assert.deepEqual(await runLine([failing], ['probe']), {
      status: 1,
      stdout: '',
      stderr: 'dcred probe: the file is gone: make it again\n',
    });
  });

  test('1 with one line where an error with a code says what is wrong', async () => {
    const error = Object.assign(new Error('refused'), { code: 'CONNECTION' });
    assert.equal(
      (await runLine([command({ run: () => Promise.reject(error) })], ['probe'])).stderr,
      'dcred probe: refused\n',
    );
  });

  test('1 with a stack for an unexpected error', async () => {
    const broken = command({ run: () => Promise.reject(new TypeError('x is not a function')) });
    const { status, stderr } = await runLine([broken], ['probe']);
    assert.equal(status, 1);
    assert.match(stderr, /^dcred probe: TypeError: x is not a function\n +at /);
  });

  test('1 even where something other than an error is thrown', async () => {
    const odd = command({ run: () => Promise.reject('odd' as unknown as Error) });
    assert.deepEqual(await runLine([odd], ['probe']), { status: 1, stdout: '', stderr: 'dcred probe: odd\n' });
  });

  test('2 with a pointer to the help where the command line is wrong', async () => {
    for (const wrong of [
      await runLine([command()], ['probe', '--what']),
      await runLine([command({ run: () => Promise.reject(new UsageError('--workers takes a number')) })], ['probe']),
    ]) {
      assert.equal(wrong.status, 2);
      assert.equal(wrong.stdout, '');
      assert.match(wrong.stderr, /\nRun "dcred probe --help" for the options and an example\.\n$/);
    }
  });

  test('2 where there is no such command', async () => {
    for (const name of ['prob', 'Probe', '--what', '', 'constructor']) {
      const { status, stderr, stdout } = await runLine([command()], [name]);
      assert.deepEqual([status, stdout], [2, ''], name);
      assert.match(stderr, /there is no command ".*"(; did you mean "probe"\?)?\nRun "dcred --help" for the list\.\n$/);
    }
  });
});

describe('help is printed', () => {
  const other = command({ name: 'other', summary: 'do something else' });

  test('of all commands, in each of the usual ways, and for nothing at all', async () => {
    const first = await runLine([command(), other], []);
    assert.equal(first.status, 0);
    assert.match(first.stdout, /probe {2,}look at something\n {2}other {2,}do something else\n/);
    for (const argv of [['help'], ['--help'], ['-h']]) assert.deepEqual(await runLine([command(), other], argv), first);
  });

  test('of one command', async () => {
    const first = await runLine([command(), other], ['probe', '--help']);
    assert.equal(first.status, 0);
    assert.match(first.stdout, /^Looks at something/);
    for (const argv of [
      ['help', 'probe'],
      ['probe', '-h'],
      ['probe', 'too', 'many', '--help'],
    ]) {
      assert.deepEqual(await runLine([command(), other], argv), first);
    }
  });

  test('not of an unknown command', async () => {
    assert.equal((await runLine([command()], ['help', 'nothing'])).status, 2);
  });
});

test('a command gets its own words, and the environment and clock that it may use', async () => {
  const { stdout } = await runLine(
    [
      command({
        positionals: { min: 0, max: 3 },
        run: async (args, io) => {
          io.stdout.write(`${args.positionals.join('+')} ${io.env['HOME']} ${io.now()}`);
          return 0;
        },
      }),
    ],
    ['probe', 'a', 'b'],
    { env: { HOME: '/home' }, now: () => 7 },
  );
  assert.equal(stdout, 'a+b /home 7');
});

test('--version is the command version', async () => {
  const first = await runLine(COMMANDS, ['version']);
  assert.deepEqual(await runLine(COMMANDS, ['--version']), first);
  assert.equal(first.status, 0);
});

describe('the executable', () => {
  const dcred = (...argv: readonly string[]) => tryRun(process.execPath, [MAIN, ...argv], { env: {} });

  test('exits with the status of its command', async () => {
    const [help, unknown, wrong, no] = await Promise.all([
      dcred(),
      dcred('nothing'),
      dcred('version', '--what'),
      dcred('inspect', '/nowhere/at/all'),
    ]);
    assert.deepEqual([help.status, unknown.status, wrong.status, no.status], [0, 2, 2, 1]);
    assert.match(help.stdout, /^dcred issues TLS delegated credentials/);
    assert.match(no.stderr, /^dcred inspect: .*\/nowhere\/at\/all/);
    for (const { stderr } of [unknown, wrong, no]) assert.doesNotMatch(stderr, /\n +at /, 'no stack');
  });
});

describe('as a plug-in of kubectl', () => {
  test('it is known by the name that it is called by', () => {
    for (const path of ['/usr/bin/kubectl-dcred', 'kubectl-dcred', 'C:\\bin\\kubectl-dcred.exe']) {
      assert.equal(programName(path), 'kubectl dcred');
    }
    for (const path of ['/usr/bin/dcred', '', '/kubectl-dcred/main.js', 'not-kubectl-dcred']) {
      assert.equal(programName(path), 'dcred');
    }
  });

  const asPlugin = (...argv: readonly string[]) => runLine(COMMANDS, argv, { program: 'kubectl dcred' });

  test('help and errors show commands as the user types them', async () => {
    const { stdout } = await asPlugin('status', '--help');
    assert.match(stdout, /^Usage: kubectl dcred status /m);
    assert.match(stdout, /^ {2}kubectl dcred status web -n edge$/m);
    assert.match((await asPlugin('--help')).stdout, /^Usage: kubectl dcred COMMAND/m);
    assert.match((await asPlugin('status', '--nosuch')).stderr, /Run "kubectl dcred status --help"/);
    assert.match(
      (await asPlugin('nosuch')).stderr,
      /^kubectl dcred: there is no command "nosuch"\nRun "kubectl dcred --help"/,
    );
    for (const { name } of COMMANDS) {
      assert.doesNotMatch((await asPlugin(name, '--help')).stdout, new RegExp(`(?<!kubectl )dcred ${name}\\b`));
    }
  });
});

test("strangers' text in the output does not act on a terminal, whatever the command forgot to escape", async () => {
  const forgetful = command({
    run: async (_, io) => {
      io.stdout.write('CN=\u202e\u001b]0;title\u0007\n');
      io.stderr.write('\u009b31m\r\n');
      return 0;
    },
  });
  assert.deepEqual(await runLine([forgetful], ['probe']), {
    status: 0,
    stdout: 'CN=\\u202e\\x1b]0;title\\x07\n',
    stderr: '\\x9b31m\\x0d\n',
  });
});
