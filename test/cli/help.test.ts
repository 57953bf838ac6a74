import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parseArguments } from '../../src/cli/arguments.ts';
import { COMMANDS } from '../../src/cli/commands.ts';
import { commandHelp, overview } from '../../src/cli/help.ts';
import { command } from './frame.ts';

const WIDTH = 100;

/** The command lines of an example: those that begin with dcred, without their output. */
function commandLines(example: string): readonly string[] {
  return [...example.matchAll(/(?:^|[|(] ?|&& )(?:\$ )?(dcred [^|)\n&]+)/gm)].map(([, line = '']) => line.trim());
}

const CLI = join(import.meta.dirname, '../../src/cli');
const SOURCES = globSync('**/*.ts', { cwd: CLI }).map((file) => readFileSync(join(CLI, file), 'utf8'));

test('the overview has a line for every command', () => {
  const lines = overview(COMMANDS).split('\n');
  for (const { name, summary } of COMMANDS) {
    assert.ok(
      lines.some((line) => line.startsWith(`  ${name} `) && line.endsWith(summary)),
      name,
    );
  }
  assert.ok(lines.every((line) => line.length <= WIDTH));
});

test('no two commands have one name', () => {
  assert.equal(new Set(COMMANDS.map(({ name }) => name)).size, COMMANDS.length);
});

for (const one of COMMANDS) {
  describe(`the help of dcred ${one.name}`, () => {
    const help = commandHelp(one);

    test('says what it does, how it is called, and gives an example', () => {
      assert.ok(one.description.length > 40, 'a sentence or more');
      assert.match(one.description, /^[A-Z].*\.$/s);
      assert.match(one.summary, /^[a-z]/, 'in lower case');
      assert.ok(one.summary.length <= 60 && !one.summary.endsWith('.'));
      assert.ok(one.usage === one.name || one.usage.startsWith(`${one.name} `));
      assert.match(help, /\nExample:\n {2}\S/);
    });

    test('has an example that the command itself understands', () => {
      const lines = commandLines(one.example);
      assert.ok(
        lines.some((line) => line.startsWith(`dcred ${one.name}`)),
        one.example,
      );
      for (const line of lines) {
        const [, name, ...argv] = line.split(/ +/).filter((word) => !/^[<>]/.test(word));
        const found = COMMANDS.find((candidate) => candidate.name === name);
        assert.ok(found !== undefined, line);
        parseArguments(found, argv);
      }
    });

    test('names in its usage every option that it cannot do without', () => {
      const found = SOURCES.filter((text) => text.includes(`\n  name: '${one.name}',\n`));
      assert.equal(found.length, 1, 'one file defines it');
      const [source = ''] = found;
      const needed = [...source.matchAll(/required\('([a-z-]+)'\)/g)].flatMap(([, name = '']) => name);
      const silent = needed.filter(
        (name) => one.options[name]?.default === undefined && !one.usage.includes(`--${name} `),
      );
      assert.deepEqual(silent, []);
    });

    test('explains every option', () => {
      for (const [name, { choices, default: preset, help: text, short, type }] of Object.entries(one.options)) {
        assert.ok(text.length > 0 && !text.endsWith('.'), name);
        const line = help.slice(help.indexOf(`--${name}`));
        assert.ok(help.includes(`--${name}`), name);
        if (short !== undefined) assert.ok(help.includes(`-${short}, --${name}`), name);
        if (type === 'string') assert.match(line, new RegExp(`^--${name} [A-Z]`), 'its value has a name');
        for (const choice of choices ?? []) assert.ok(line.includes(choice), choice);
        if (preset !== undefined && typeof preset === 'string' && choices !== undefined) {
          assert.ok(choices.includes(preset), `${name}: the default is one of the choices`);
        }
      }
    });

    test('fits a terminal', () => {
      const described = help.split('\nExample:')[0] ?? '';
      for (const line of described.split('\n')) assert.ok(line.length <= WIDTH, line);
    });

    test('gives no short name twice', () => {
      const shorts = Object.values(one.options).flatMap(({ short }) => (short === undefined ? [] : [short]));
      assert.equal(new Set([...shorts, 'h']).size, shorts.length + 1);
    });
  });
}

test('a long explanation goes on under itself', () => {
  const long = 'word '.repeat(40).trim();
  const help = commandHelp(command({ options: { file: { type: 'string', value: 'FILE', help: long } } }));
  const lines = help.split('\n').filter((line) => line.includes('word'));
  assert.ok(lines.length > 1);
  const [first = '', ...more] = lines;
  for (const line of more) assert.equal(line.search(/\S/), first.indexOf('word'));
  assert.equal(lines.join(' ').match(/word/g)?.length, 40);
});

test('a word that is longer than a line is left whole', () => {
  const word = 'w'.repeat(150);
  assert.ok(commandHelp(command({ description: `See ${word} for more.` })).includes(`\n${word}\n`));
});
