/** What is offered for each word of a line, by the commands' own tables. The cluster is a fake one: nothing answers. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { COMMANDS } from '../../../src/cli/commands.ts';
import { complete } from '../../../src/cli/completion/complete.ts';
import { completeCommand } from '../../../src/cli/completion/complete-command.ts';
import { runLine } from '../frame.ts';

const COMPLETE = [completeCommand(() => COMMANDS)];

/** Without a cluster, unless `env` names one. */
async function offers(words: readonly string[], env: Readonly<Record<string, string>> = { HOME: '/nonexistent' }) {
  const { status, stderr, stdout } = await runLine(COMPLETE, ['__complete', '--', ...words], { env });
  assert.deepEqual([status, stderr], [0, '']);
  const lines = stdout.trimEnd().split('\n');
  return {
    words: lines.slice(0, -1).map((line) => line.split('\t')[0]),
    directive: lines.at(-1),
  };
}
const wordsFor = async (...words: readonly string[]) => (await offers(words)).words;
const directiveFor = async (...words: readonly string[]) => (await offers(words)).directive;

test('the commands, with what they do', async () => {
  assert.deepEqual(await wordsFor(''), [...COMMANDS.map(({ name }) => name), 'help']);
  assert.deepEqual(await wordsFor('v'), ['verify', 'version']);
  assert.deepEqual(await offers(['x']), { words: [], directive: ':4' });
  assert.deepEqual(await wordsFor('help', 'sta'), ['status']);
  assert.deepEqual(await offers([]), await offers(['']));
  const { stdout } = await runLine(COMPLETE, ['__complete', '--', 'version']);
  assert.equal(stdout, 'version\tprint the version\n:4\n');
});

for (const { name, options } of COMMANDS) {
  test(`the options of ${name}, none of them twice`, async () => {
    const long = [...Object.keys(options), 'help'].map((option) => `--${option}`);
    assert.deepEqual(await wordsFor(name, '--'), long);
    for (const [option, { choices, multiple, short, type }] of Object.entries(options)) {
      const value = type === 'string' ? ['value'] : [];
      const after = await wordsFor(name, `--${option}`, ...value, '--');
      assert.equal(after.includes(`--${option}`), multiple === true, option);
      if (short !== undefined) {
        assert.ok((await wordsFor(name, '-')).includes(`-${short}`), short);
        assert.ok(!(await wordsFor(name, `-${short}`, ...value, '--')).includes(`--${option}`) || multiple === true);
      }
      if (choices === undefined) continue;
      assert.deepEqual(await wordsFor(name, `--${option}`, ''), choices);
      assert.deepEqual(await wordsFor(name, `--${option}=`), choices);
      // As bash splits it.
      assert.deepEqual(await wordsFor(name, `--${option}`, '=', choices[0]?.slice(0, -1) ?? ''), [choices[0]]);
      if (short !== undefined) assert.deepEqual(await wordsFor(name, `-${short}`, ''), choices);
    }
  });
}

test('files and folders are for the shell to offer', async () => {
  assert.equal(await directiveFor('issue', '--cert', ''), ':0');
  assert.equal(await directiveFor('issue', '--out', ''), ':16');
  assert.equal(await directiveFor('status', '--kubeconfig', '/e'), ':0');
  assert.deepEqual(await offers(['signer', 'verify-log', 'a']), { words: [], directive: ':0' });
  assert.deepEqual(await offers(['inspect', 'some-file']), { words: [], directive: ':2' });
  assert.deepEqual(await offers(['inspect', 's']), { words: ['secret/'], directive: ':2' });
});

test('nothing where nothing is known, or no further word is accepted', async () => {
  for (const line of [
    ['probe', ''],
    ['version', ''],
    ['completion', 'bash', ''],
    ['inspect', 'secret', 'a', ''],
    ['audit', '--timeout', ''],
    ['nosuch', ''],
    ['nosuch', '--'],
    ['status', '--', '--'],
    ['status', ''],
    ['status', '-n', ''],
  ]) {
    assert.deepEqual(await offers(line), { words: [], directive: ':4' }, line.join(' '));
  }
});

describe('names of the cluster', () => {
  const expected = (...words: readonly string[]) => complete(COMMANDS, words);

  test('of DelegatedCredentials, where commands take them, without those already on the line', () => {
    for (const name of ['status', 'audit', 'events', 'renew', 'suspend', 'resume']) {
      const typed = expected(name, '-n', 'edge', 'web', 'a');
      assert.deepEqual(typed.expected, { kind: 'names', of: 'DelegatedCredential', except: ['web'] }, name);
      assert.deepEqual([typed.typed, typed.scope.namespace], ['a', 'edge']);
    }
  });

  test('of pods and Secrets, in both forms', () => {
    assert.deepEqual(expected('inspect', 'pod/w').expected, { kind: 'names', of: 'Pod', prefix: 'pod/' });
    assert.deepEqual(expected('inspect', 'secret/').expected, { kind: 'names', of: 'IssuedSecret', prefix: 'secret/' });
    assert.deepEqual(expected('inspect', 'po', '').expected, { kind: 'names', of: 'Pod', prefix: '' });
    assert.deepEqual(expected('check', '--certificate', '').expected, { kind: 'names', of: 'CertificateSecret' });
  });

  test('of namespaces and contexts', () => {
    for (const words of [
      ['status', '-n', ''],
      ['status', '--namespace', 'e'],
      ['status', '--namespace=e'],
      ['check', '-s', ''],
    ]) {
      assert.deepEqual(expected(...words).expected, { kind: 'names', of: 'Namespace' }, words.join(' '));
    }
    assert.deepEqual(expected('status', '--context', '').expected, { kind: 'names', of: 'Context' });
  });

  test('from the cluster and namespace that the line names', () => {
    const { scope } = expected('status', '-A', '--kubeconfig=a', '--context', 'b', '-nc', '');
    assert.deepEqual(scope, { kubeconfig: 'a', context: 'b', namespace: 'c', allNamespaces: true });
  });
});

test('whatever is typed, an answer is candidates that begin with it, or none', async () => {
  const word = fc.oneof(
    fc.constantFrom(
      'status',
      'inspect',
      '--',
      '-',
      '=',
      '--namespace',
      '-n',
      '--output=',
      '-A',
      'secret/',
      '__proto__',
      '',
    ),
    fc.constantFrom(...COMMANDS.map(({ name }) => name)),
    fc.string(),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(word, { maxLength: 6 }), async (words) => {
      const typed = complete(COMMANDS, words.length === 0 ? [''] : words).typed;
      const { directive, words: offered } = await offers(words);
      assert.match(directive ?? '', /^:\d+$/);
      for (const one of offered) assert.ok(one?.startsWith(typed), `${one} for ${JSON.stringify(words)}`);
    }),
    { numRuns: 200 },
  );
});
