import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { test } from 'node:test';
import { explainConnectionError, explainFileError, explainWriteError } from '../../src/text/system-error.ts';

test('what Node says of files is a sentence about the file', async () => {
  const of = async (path: string) => explainFileError(path, await readFile(path).catch((error: unknown) => error));
  assert.equal(await of('/nowhere/at/all'), '/nowhere/at/all does not exist');
  assert.equal(await of('/'), '/ is a directory');
  assert.equal(explainFileError('x', new Error('odd')), 'x: odd');
  assert.equal(explainFileError('x', Object.assign(new Error('odd'), { code: 'toString' })), 'x: odd');
});

test('a new file that cannot be written is reported as a missing directory', async () => {
  const path = '/no/such/report.html';
  const error: unknown = await writeFile(path, '').catch((failure: unknown) => failure);
  assert.equal(explainWriteError(path, error), 'the directory /no/such does not exist');
  assert.equal(
    explainWriteError('/', await writeFile('/', '').catch((failure: unknown) => failure)),
    '/ is a directory',
  );
});

test('what Node says of connections is a sentence about the address', async () => {
  const refused = await new Promise((resolve) => connect({ host: '127.0.0.1', port: 1 }).once('error', resolve));
  const words = '127.0.0.1:1 refused the connection: nothing listens there (ECONNREFUSED)';
  assert.equal(explainConnectionError(refused), words);
  assert.equal(explainConnectionError(new AggregateError([refused])), words);
  const error = (properties: object) => Object.assign(new Error('raw'), properties);
  for (const [properties, expected] of [
    [{ code: 'ENOTFOUND', hostname: 'nohost.invalid' }, 'nohost.invalid is not a known host name (ENOTFOUND)'],
    [
      { code: 'ECONNREFUSED', address: '::1', port: 1 },
      '[::1]:1 refused the connection: nothing listens there (ECONNREFUSED)',
    ],
    [{ code: 'EADDRINUSE', address: '::', port: 80 }, '[::]:80 is in use: another process listens there (EADDRINUSE)'],
    [
      {
        code: 'UND_ERR_CONNECT_TIMEOUT',
        message: 'Connect Timeout Error (attempted address: 127.0.0.1:1, timeout: 10000ms)',
      },
      '127.0.0.1:1 did not answer in time (UND_ERR_CONNECT_TIMEOUT)',
    ],
    [{ code: 'UND_ERR_CONNECT_TIMEOUT' }, 'raw'],
    [{ code: 'ECONNRESET' }, 'the other side closed the connection (ECONNRESET)'],
    [{ code: 'ENOTFOUND' }, 'raw'],
    [{ code: 'EOTHER', address: '::', port: 80 }, 'raw'],
  ] as const) {
    assert.equal(explainConnectionError(error(properties)), expected);
  }
});

test('advice for programmers is left out', () => {
  const message =
    'unable to verify the first certificate; if the root CA is installed locally, try running Node.js with --use-system-ca';
  assert.equal(explainConnectionError(new Error(message)), 'unable to verify the first certificate');
});
