/**
 * No test depends on how fast the machine is. It asserts no elapsed time, does not sleep and then check once, gives what must succeed no
 * short deadline, and none that begins before it does, and reads no clock before it makes a certificate that must be valid at that time:
 * it waits for a state (`eventually`), an event, or a fake clock. `bench/` measures time.
 */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import { describe, test } from 'node:test';

const TESTS = import.meta.dirname;
/** A loaded machine needs seconds for what takes milliseconds. Timeouts that are meant to expire may be shorter: they are named below. */
const SHORTEST_TIMEOUT_MS = 20_000;

type Rule = 'elapsed time' | 'sleep' | 'short timeout' | 'early deadline' | 'early present';

/** Where a rule does not hold, and why no busy machine can break the test. */
const EXCEPTIONS: Readonly<Record<Rule, Readonly<Record<string, string>>>> = {
  'elapsed time': {
    'agent/mounted-version.test.ts': 'a file time lies between two clock readings, however far apart these are',
    'agent/processes.test.ts': 'a start time lies between two clock readings, however far apart these are',
    'cluster/restore.test.ts': 'an expiry is bounded from above by the present: a later present only widens the bound',
    'faults/proxy.test.ts': 'half an hour tells a clock that is an hour ahead from one that is not',
    'signer-client/signer-client.test.ts': 'five minutes tell a clock that is ten minutes off from one that is not',
    'cluster/loops.test.ts': 'a bound on writes that grows with the time that passed: a slow machine makes fewer',
  },
  sleep: {
    'operator/core/purity.test.ts': 'the text of a program that another test judges',
    'admission/serving/rotation.test.ts': 'paces load that runs until enough certificates were served',
    'e2e/load.ts': 'paces load',
    'faults/proxy.test.ts': 'a hanging answer is still open after a while: a slow machine cannot make it end',
    'faults/proxy.ts': 'a delay is one of the faults',
    'faults/recovery.ts': 'polls a state until it holds',
    'faults/watch-pipe.ts': 'a delay is one of the faults',
    'faults/witness.ts': 'tries again while the API server restarts',
  },
  'short timeout': {
    'faults/network.test.ts': 'of calls that a fault lets hang; they are tried again',
    'agent/reload.test.ts': 'of commands that end at once or must be killed',
    'kubernetes/client/api-client-fake.test.ts': 'of a fake clock',
    'testing/support/processes.test.ts': 'each is to expire',
  },
  'early deadline': { 'testing/support/processes.test.ts': 'it is to expire' },
  'early present': {},
};

const CLOCKS = String.raw`performance\.now\(\)|process\.hrtime|process\.uptime\(\)`;
const CLOCK = new RegExp(CLOCKS);
/** `const took = performance.now() - began`, and what is computed from `Date.now()` by subtraction. */
const MEASURED = new RegExp(String.raw`\b(?:const|let) (\w+) = [^;]*?(?:${CLOCKS}|Date\.now\(\) -)`, 'g');
const WALL_CLOCK_COMPARED = /Date\.now\(\)\s*[-<>]|(?:[-<>]=?)\s*(?:Math\.\w+\()?Date\.now\(\)/;
/** Not a fake clock's method, nor its definition. */
const SLEEPS = [/from 'node:timers\/promises'/g, /(?<![.\w])setTimeout\((?!callback\b)/g, /\bsleep\(/g];
/** It runs from when it is made, through the start of a control plane too. What is to end with a test takes a signal that never does. */
const DEADLINE = /AbortSignal\.timeout\(/g;
const TIMEOUTS = [/AbortSignal\.timeout\(([\d_]+)\)/g, /\btimeoutMs: ([\d_]+)(?! \*)\b/g];

/** Assertions, each with its whole text: from `assert` to the end of the statement. */
function assertionsOf(text: string): readonly { readonly line: number; readonly statement: string }[] {
  return [...text.matchAll(/^\s*(?:await )?assert\b[\s\S]*?;$/gm)].map((match) => ({
    line: lineOf(text, match.index),
    statement: match[0],
  }));
}

function lineOf(text: string, index: number): number {
  return text.slice(0, index).split('\n').length;
}

function elapsedTimeIn(text: string): readonly number[] {
  const measured = [...text.matchAll(MEASURED)].map(([, name = '']) => name);
  const uses = measured.map((name) => new RegExp(String.raw`\b${name}\b`));
  return assertionsOf(text)
    .filter(
      ({ statement }) =>
        CLOCK.test(statement) || WALL_CLOCK_COMPARED.test(statement) || uses.some((use) => use.test(statement)),
    )
    .map(({ line }) => line);
}

function sleepsIn(text: string): readonly number[] {
  return SLEEPS.flatMap((pattern) => [...text.matchAll(pattern)].map(({ index }) => lineOf(text, index)));
}

function shortTimeoutsIn(text: string): readonly number[] {
  return TIMEOUTS.flatMap((pattern) => [...text.matchAll(pattern)])
    .filter(([, ms = '']) => Number(ms.replaceAll('_', '')) < SHORTEST_TIMEOUT_MS)
    .map(({ index }) => lineOf(text, index));
}

function earlyDeadlinesIn(text: string): readonly number[] {
  return [...text.matchAll(DEADLINE)].map(({ index }) => lineOf(text, index));
}

/** A `now` for a whole file that is read before OpenSSL makes a certificate: on a slow machine the certificate is not valid yet at that time. */
function earlyPresentIn(text: string): readonly number[] {
  const present = /^(?:export )?const \w+ = (?:Math\.\w+\()?Date\.now\(\)[ /\d_]*\)?;/m.exec(text);
  const certificate = text.search(/\b(?:leaf|authority)\(/);
  return present !== null && present.index < certificate ? [lineOf(text, present.index)] : [];
}

const RULES: Readonly<Record<Rule, (text: string) => readonly number[]>> = {
  'elapsed time': elapsedTimeIn,
  sleep: sleepsIn,
  'short timeout': shortTimeoutsIn,
  'early deadline': earlyDeadlinesIn,
  'early present': earlyPresentIn,
};

const files = readdirSync(TESTS, { recursive: true, encoding: 'utf8' })
  .map((file) => file.split(sep).join('/'))
  .filter((file) => file.endsWith('.ts') && file !== 'no-elapsed-time.test.ts')
  .sort();

describe('no test', () => {
  for (const [rule, find] of Object.entries(RULES) as [Rule, (text: string) => readonly number[]][]) {
    test(`depends on: ${rule}`, () => {
      const exceptions = EXCEPTIONS[rule];
      const found = new Map(
        files
          .map((file) => [file, find(readFileSync(join(TESTS, file), 'utf8'))] as const)
          .filter(([, lines]) => lines.length > 0),
      );
      assert.deepEqual(
        [...found]
          .filter(([file]) => exceptions[file] === undefined)
          .map(([file, lines]) => `${file}:${lines.join(',')}`),
        [],
      );
      assert.deepEqual(
        Object.keys(exceptions).filter((file) => !found.has(file)),
        [],
        'exceptions that are no longer needed',
      );
    });
  }
});

describe('the rules see', () => {
  const cases: readonly [Rule, string][] = [
    ['elapsed time', '  assert.ok(performance.now() - began < 2_000);\n'],
    ['elapsed time', '  const took = performance.now() - began;\n  assert.ok(\n    took < 5,\n    "soon",\n  );\n'],
    ['elapsed time', '  assert.ok(process.hrtime.bigint() - started < 1n);\n'],
    ['elapsed time', '  assert.ok(Math.abs(Date.parse(at) - Date.now()) < 60_000);\n'],
    ['elapsed time', '  assert.ok(at <= Date.now() + 30);\n'],
    ['sleep', '  await new Promise((resolve) => setTimeout(resolve, 150));\n'],
    ['sleep', "import { setTimeout as pause } from 'node:timers/promises';\n"],
    ['short timeout', '  await queue.take(AbortSignal.timeout(1_000));\n'],
    ['early deadline', 'const signal = AbortSignal.timeout(600_000);\n'],
    ['short timeout', '  await eventually("so", probe, { timeoutMs: 3_000 });\n'],
    ['early present', 'const NOW = Math.floor(Date.now() / 1000);\nconst web = leaf();\n'],
  ];
  for (const [rule, text] of cases) {
    test(`${rule} in ${text.trim().split('\n').at(-1)}`, () => assert.equal(RULES[rule](text).length, 1));
  }

  test('nothing in what is allowed', () => {
    const text = `
      const began = performance.now();
      t.diagnostic(\`after \${performance.now() - began} ms\`);
      const now = Math.floor(Date.now() / 1000);
      assert.equal(verify(leaf, now), 'good');
      await eventually('so', probe, { timeoutMs: 60_000 });
    `;
    for (const find of Object.values(RULES)) assert.deepEqual(find(text), []);
  });
});
