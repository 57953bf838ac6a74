import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  formatReload,
  parseReload,
  RELOAD_METHODS,
  RELOAD_SIGNALS,
  type ReloadSpec,
  ReloadSpecError,
} from '../../src/api/reload-spec.ts';

const GOOD: Readonly<Record<string, ReloadSpec>> = {
  'signal:HUP:nginx': { kind: 'signal', signal: 'HUP', process: { kind: 'name', name: 'nginx' } },
  'signal:SIGUSR1:haproxy': { kind: 'signal', signal: 'USR1', process: { kind: 'name', name: 'haproxy' } },
  'signal:HUP:pid:/run/nginx.pid': {
    kind: 'signal',
    signal: 'HUP',
    process: { kind: 'pidfile', path: '/run/nginx.pid' },
  },
  'exec:/bin/reload': { kind: 'exec', command: ['/bin/reload'] },
  'exec:/bin/reload  --now all': { kind: 'exec', command: ['/bin/reload', '--now', 'all'] },
  'exec:["/bin/reload","a b",""]': { kind: 'exec', command: ['/bin/reload', 'a b', ''] },
  'http:POST:http://127.0.0.1:8080/reload': { kind: 'http', method: 'POST', url: 'http://127.0.0.1:8080/reload' },
  'http:PUT:https://localhost/-/reload?all=1': { kind: 'http', method: 'PUT', url: 'https://localhost/-/reload?all=1' },
};

const BAD: Readonly<Record<string, RegExp>> = {
  '': /expected signal:HUP:nginx/,
  nginx: /expected signal:HUP:nginx/,
  'SIGNAL:HUP:nginx': /expected signal:HUP:nginx/,
  'signal:nginx': /one of the signals HUP, USR1, USR2, WINCH/,
  'signal:KILL:nginx': /one of the signals/,
  'signal:TERM:nginx': /one of the signals/,
  'signal:HUP:': /expected a process name/,
  'signal:HUP:/usr/sbin/nginx': /expected a process name/,
  'signal:HUP:a b': /expected a process name/,
  'signal:HUP:-1': /expected a process name/,
  'signal:HUP:pid:run/nginx.pid': /absolute path/,
  'exec:': /absolute path/,
  'exec:reload': /absolute path/,
  'exec:[]': /absolute path/,
  'exec:[1]': /list of words in JSON/,
  'exec:["/bin/a"': /list of words in JSON/,
  'http:http://127.0.0.1/': /one of GET, POST, PUT/,
  'http:DELETE:http://127.0.0.1/': /one of GET, POST, PUT/,
  'http:POST:127.0.0.1:8080': /expected a URL/,
  'http:POST:file:///etc/passwd': /expected a URL/,
  'http:POST:http://me:secret@127.0.0.1/': /without a user name and password/,
  [`exec:/${'x'.repeat(2000)}`]: /at most 1024 characters, got 2006/,
  [`exec:/bin/reload${' x'.repeat(300)}`]: /at most 1024 characters with .* the words in JSON, got 1220: shorten it/,
  [`http:POST:http://localhost/${'\u00e9'.repeat(200)}`]:
    /at most 1024 characters with the URL percent-encoded .* got 1227/,
};

describe('a reload spec', () => {
  for (const [text, expected] of Object.entries(GOOD)) {
    test(`${text} is valid`, () => assert.deepEqual(parseReload(text), expected));
  }

  for (const [text, message] of Object.entries(BAD)) {
    test(`${JSON.stringify(text.slice(0, 60))} is refused`, () => {
      assert.throws(
        () => parseReload(text),
        (error) => {
          assert.ok(error instanceof ReloadSpecError);
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }

  test('a password is not repeated in the error', () => {
    assert.throws(
      () => parseReload('http:POST:http://me:hunter2@127.0.0.1/'),
      (error) => error instanceof ReloadSpecError && !error.message.includes('hunter2'),
    );
  });

  test('what is formatted is parsed back', () => {
    const word = fc.string({ maxLength: 20 }).filter((text) => !text.includes('\0'));
    const path = fc.stringMatching(/^\/[a-z0-9/._-]{1,30}$/);
    const spec: fc.Arbitrary<ReloadSpec> = fc.oneof(
      fc.record({
        kind: fc.constant('signal' as const),
        signal: fc.constantFrom(...RELOAD_SIGNALS),
        process: fc.oneof(
          fc.record({ kind: fc.constant('name' as const), name: fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/) }),
          fc.record({ kind: fc.constant('pidfile' as const), path }),
        ),
      }),
      fc.record({
        kind: fc.constant('exec' as const),
        command: fc.tuple(path, fc.array(word, { maxLength: 5 })).map(([file, words]) => [file, ...words] as const),
      }) as fc.Arbitrary<ReloadSpec>,
      fc.record({
        kind: fc.constant('http' as const),
        method: fc.constantFrom(...RELOAD_METHODS),
        url: fc.webUrl({ validSchemes: ['http', 'https'] }).map((url) => new URL(url).href),
      }),
    );
    fc.assert(fc.property(spec, (given) => assert.deepEqual(parseReload(formatReload(given)), structuredClone(given))));
  });

  test('what is accepted is accepted again as it is formatted, and means the same', () => {
    // Many short words and characters that are escaped: the longest in comparison once they are formatted.
    const word = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 8 }),
      fc.constantFrom('x', '"', '\\', '\u0001', '\ud800'),
    );
    const words = fc.array(word, { maxLength: 250, size: 'max' });
    const text = fc.oneof(
      words.map((list) => `exec:/bin/reload ${list.join(' ')}`),
      words.map((list) => `exec:${JSON.stringify(['/bin/reload', ...list])}`),
      words.map((list) => `http:POST:http://localhost/${list.join('/')}`),
      words.map((list) => `http:GET:https://localhost/?${list.join('&')}#${list.join('')}`),
      fc.string({ unit: 'binary', maxLength: 60 }).map((host) => `http:PUT:http://${host}/`),
      words.map((list) => `signal:SIGHUP:pid:/${list.join('')}`),
    );
    const outcomes = { accepted: 0, refused: 0 };
    fc.assert(
      fc.property(text, (given) => {
        let spec: ReloadSpec;
        try {
          spec = parseReload(given);
        } catch (error) {
          assert.ok(error instanceof ReloadSpecError);
          outcomes.refused += 1;
          return;
        }
        outcomes.accepted += 1;
        assert.deepEqual(parseReload(formatReload(spec)), spec);
      }),
      { numRuns: 1_000 },
    );
    assert.ok(outcomes.accepted > 0 && outcomes.refused > 0, JSON.stringify(outcomes));
  });

  test('any text is valid, or refused with a message', () => {
    const text = fc.oneof(
      fc.string(),
      fc
        .tuple(fc.constantFrom('signal:', 'exec:', 'http:', 'signal:HUP:', 'http:POST:'), fc.string())
        .map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(text, (given) => {
        try {
          parseReload(given);
        } catch (error) {
          assert.ok(error instanceof ReloadSpecError && error.message.startsWith('expected'));
        }
      }),
    );
  });
});
