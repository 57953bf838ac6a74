/** What users read in place of OpenSSL's own text. */

import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { describe, test } from 'node:test';
import { createSecureContext } from 'node:tls';
import fc from 'fast-check';
import type { CommandIo } from '../../src/cli/command.ts';
import { createLogger } from '../../src/cli/options/server-options.ts';
import { run } from '../../src/cli/run.ts';
import { networkError } from '../../src/kubernetes/client/status-error.ts';
import { explainOpenSsl } from '../../src/text/openssl-error.ts';

const RAW = /:error:|error:[0-9A-F]{8}|routines:|\.c:\d|[\n\r]/;

const word = fc.stringMatching(/^[a-z0-9_ /().-]{0,40}$/);
const hex = (length: number) => fc.stringMatching(new RegExp(`^[0-9A-F]{${length}}$`));
/** ERR_error_string_n, and before and behind it what ERR_print_errors_cb adds. */
const ofCryptography = fc
  .tuple(hex(8), word, word, word)
  .map(([code, library, name, reason]) => `error:${code}:${library} routines:${name}:${reason}`);
const ofTls = fc
  .tuple(hex(16), ofCryptography, fc.nat(), fc.string({ maxLength: 700 }))
  .map(([thread, error, line, data]) => `${thread}:${error}:../deps/ssl/a.c:${line}:${data.replaceAll('\n', '')}\n`);
const text = fc.oneof(
  ofCryptography,
  fc.array(ofTls, { minLength: 1, maxLength: 3 }).map((lines) => lines.join('')),
);

function captured(): { readonly io: CommandIo; readonly stderr: () => string } {
  let written = '';
  const io: CommandIo = {
    stdout: { write: () => undefined },
    stderr: { write: (one) => (written += one) },
    env: {},
    signal: new AbortController().signal,
    now: () => 0,
  };
  return { io, stderr: () => written };
}

function thrown(work: () => unknown): Error {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof Error);
    return error;
  }
  return assert.fail('expected an error');
}

describe("OpenSSL's errors", () => {
  test('are a short phrase, in one line, wherever they are in a text', () => {
    fc.assert(
      fc.property(text, word, (error, before) => {
        const plain = explainOpenSsl(`${before}: ${error}`);
        assert.doesNotMatch(plain, RAW);
        assert.ok(plain.startsWith(`${before}: `));
        assert.ok(plain.length < before.length + 300, plain);
        assert.equal(explainOpenSsl(plain), plain);
      }),
    );
  });

  test('name every alert by its number, whatever its reason is called', () => {
    fc.assert(
      fc.property(fc.nat({ max: 255 }), word, (alert, reason) => {
        const code = ((20 << 23) + 1000 + alert).toString(16).toUpperCase().padStart(8, '0');
        const plain = explainOpenSsl(`0A:error:${code}:SSL routines:f:${reason}:../a.c:9:SSL alert number ${alert}\n`);
        assert.match(plain, /^the server refuses the TLS handshake: [a-z0-9_ ]+$/);
      }),
    );
    const version =
      '40BD:error:0A00042E:SSL routines:ssl3_read_bytes:tlsv1 alert protocol version:../deps/a.c:918:SSL alert number 70\n';
    assert.equal(explainOpenSsl(version), 'the server refuses the TLS handshake: protocol_version');
  });

  test('say that a server does not speak TLS, and what is wrong with a file', () => {
    assert.equal(
      explainOpenSsl('40:error:0A00010B:SSL routines:f:wrong version number:../deps/a.c:77:\n'),
      'expected TLS, found another protocol (wrong version number)',
    );
    assert.equal(explainOpenSsl(thrown(() => createPrivateKey('none')).message), 'OpenSSL: unsupported');
    assert.equal(
      explainOpenSsl(`the key: ${thrown(() => createSecureContext({ cert: 'none' })).message}`),
      'the key: OpenSSL: no start line',
    );
  });

  test('are all that changes: any other text is as it was', () => {
    for (const other of [
      '',
      'unable to verify the first certificate',
      'error: no such file',
      'a\nb',
      'connect: error:',
    ]) {
      assert.equal(explainOpenSsl(other), other);
    }
  });
});

describe('the raw text is not shown', () => {
  const error = Object.assign(
    new Error(
      '40BD:error:0A00042E:SSL routines:ssl3_read_bytes:tlsv1 alert protocol version:../a.c:918:SSL alert 70\n',
    ),
    { code: 'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION' },
  );

  test('in an error of the API', () => {
    assert.equal(
      networkError('get pods', error).message,
      'get pods: the server refuses the TLS handshake: protocol_version (ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION)',
    );
  });

  test('in a log', () => {
    const { io, stderr } = captured();
    createLogger('info', io).warn({ err: error }, 'failed');
    assert.doesNotMatch(stderr(), /routines|\\n/);
    assert.match(stderr(), /protocol_version/);
  });

  test('as the last line of a command', async () => {
    const { io, stderr } = captured();
    const command = {
      name: 'fail',
      summary: '',
      usage: '',
      description: '',
      example: '',
      options: {},
      run: () => Promise.reject(error),
    };
    assert.equal(await run([command], ['fail'], io), 1);
    assert.equal(stderr(), 'dcred fail: the server refuses the TLS handshake: protocol_version\n');
  });
});
