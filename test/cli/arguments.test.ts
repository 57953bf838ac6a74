import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseArguments } from '../../src/cli/arguments.ts';
import { type Command, UsageError } from '../../src/cli/command.ts';
import { command } from './frame.ts';

const PROBE = command({
  options: {
    cert: { type: 'string', value: 'FILE', help: 'a file' },
    output: { type: 'string', short: 'o', choices: ['json', 'text'], default: 'text', help: 'a format' },
    namespace: { type: 'string', short: 'n', multiple: true, help: 'namespaces' },
    usage: { type: 'string', multiple: true, choices: ['Server', 'Client'], help: 'usages' },
    'leader-elect': { type: 'boolean', default: true, help: 'a switch that is on' },
    quiet: { type: 'boolean', short: 'q', help: 'a switch that is off' },
  },
});

const parse = (...argv: readonly string[]) => parseArguments(PROBE, argv);

function refused(argv: readonly string[], message: RegExp, of: Command = PROBE): void {
  assert.throws(
    () => parseArguments(of, argv),
    (error) => {
      assert.ok(error instanceof UsageError, String(error));
      assert.match(error.message, message);
      return true;
    },
  );
}

describe('an option', () => {
  test('is given in each of the usual ways', () => {
    for (const argv of [['--output', 'json'], ['--output=json'], ['-o', 'json'], ['-ojson']]) {
      assert.equal(parse(...argv).string('output'), 'json');
    }
  });

  test('has its default, or nothing', () => {
    assert.equal(parse().string('output'), 'text');
    assert.equal(parse().string('cert'), undefined);
    assert.equal(parse().boolean('leader-elect'), true);
    assert.equal(parse().boolean('quiet'), false);
    assert.deepEqual(parse().strings('namespace'), []);
  });

  test('may have a value that looks like an option, after an equals sign', () => {
    assert.equal(parse('--cert=--quiet').string('cert'), '--quiet');
    assert.equal(parse('--cert=a=b').string('cert'), 'a=b');
  });

  test('given twice has the last value, unless it takes a list', () => {
    assert.equal(parse('--cert', 'a', '--cert', 'b').string('cert'), 'b');
    assert.deepEqual(parse('-n', 'a', '--namespace=b', '-nc').strings('namespace'), ['a', 'b', 'c']);
  });

  test('that is required and missing is named', () => {
    assert.equal(parse('--cert', 'x').required('cert'), 'x');
    assert.throws(() => parse().required('cert'), { name: 'UsageError', message: '--cert FILE is required: a file' });
  });

  test('that is unknown is refused', () => {
    refused(['--certificate', 'x'], /^there is no option --certificate$/);
    refused(['--outptu=json'], /^there is no option --outptu; did you mean --output\?$/);
    refused(['-x'], /^there is no option -x$/);
    refused(['-qx'], /^there is no option -x$/);
    refused(['--toString'], /^there is no option --toString$/);
    refused(['--no-cert'], /^there is no option --no-cert/);
    refused(['--no-nothing'], /^there is no option --no-nothing/);
  });

  test('without its value is refused', () => {
    refused(['--cert'], /^--cert takes a value: --cert=FILE$/);
    refused(['-o'], /^-o takes a value: -o VALUE$/);
    refused(['--cert', '--quiet'], /^--cert takes a value: --cert=FILE; got the option --quiet after it$/);
    assert.equal(parse('--cert', '-').string('cert'), '-');
  });

  test('outside its choices is refused with what they are', () => {
    refused(['-o', 'xml'], /^--output takes one of json, text; got "xml"$/);
    refused(['--usage', 'Server', '--usage', 'Peer'], /^--usage takes one of Server, Client; got "Peer"$/);
    assert.deepEqual(parse('--usage=Client').strings('usage'), ['Client']);
  });
});

describe('a switch', () => {
  test('is given in each way that Kubernetes binaries and others accept', () => {
    assert.equal(parse('--quiet').boolean('quiet'), true);
    assert.equal(parse('-q').boolean('quiet'), true);
    assert.equal(parse('--quiet=true').boolean('quiet'), true);
    assert.equal(parse('--leader-elect=false').boolean('leader-elect'), false);
    assert.equal(parse('--no-leader-elect').boolean('leader-elect'), false);
    assert.equal(parse('--leader-elect=true').boolean('leader-elect'), true);
  });

  test('given twice means the last', () => {
    assert.equal(parse('--leader-elect=false', '--leader-elect').boolean('leader-elect'), true);
    assert.equal(parse('--leader-elect', '--leader-elect=false').boolean('leader-elect'), false);
  });

  test('takes true and false, and nothing else', () => {
    refused(['--quiet=yes'], /^--quiet takes true or false; got "yes"$/);
    refused(['--quiet='], /^--quiet takes true or false; got ""$/);
    refused(['--quiet=TRUE'], /got "TRUE"/);
  });

  test('takes no word after it', () => refused(['--quiet', 'false'], /unexpected argument "false"/));
});

describe('words without a dash', () => {
  const takes = (min: number, max: number) => command({ positionals: { min, max } });

  test('are accepted where the command takes them', () => {
    assert.deepEqual(parseArguments(takes(1, 2), ['a', 'b']).positionals, ['a', 'b']);
    assert.deepEqual(parseArguments(takes(0, 1), []).positionals, []);
  });

  test('are refused where it takes none, or where they are too many or too few', () => {
    refused(['a'], /^unexpected argument "a": dcred probe \[options\]$/);
    refused(['a', 'b', 'c'], /unexpected argument "c"/, takes(1, 2));
    refused([], /^expected at least 1 argument, found none: dcred probe \[options\]$/, takes(1, 2));
    refused(['a'], /^expected 2 arguments, found 1: dcred probe \[options\]$/, takes(2, 2));
  });

  test('are everything after two dashes', () => {
    const args = parseArguments({ ...PROBE, positionals: { min: 0, max: 9 } }, ['-q', '--', '--quiet=maybe', '-x']);
    assert.deepEqual(args.positionals, ['--quiet=maybe', '-x']);
    assert.equal(args.boolean('quiet'), true);
  });
});

describe('help', () => {
  test('is understood by every command, even where words are missing or too many', () => {
    const wants = command({ positionals: { min: 1, max: 1 } });
    for (const argv of [['--help'], ['-h'], ['--help=true'], ['a', 'b', '-h']]) {
      assert.equal(parseArguments(wants, argv).boolean('help'), true);
    }
    assert.equal(parseArguments(command(), ['--help=false']).boolean('help'), false);
  });
});

test('a command that reads an option that it does not declare is a bug, and the error says so', () => {
  assert.throws(() => parse().string('nothing'), { name: 'TypeError', message: /no string option --nothing/ });
  assert.throws(() => parse().string('quiet'), { name: 'TypeError' });
  assert.throws(() => parse().boolean('cert'), { name: 'TypeError' });
  assert.throws(() => parse('-n', 'a').string('namespace'), { name: 'TypeError', message: /takes a list/ });
});
