import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { checkPair } from '../../src/agent/check-pair.ts';
import type { Files } from '../../src/agent/mounted-version.ts';
import type { Usage } from '../../src/credential/scheme.ts';
import { delegation } from '../../testing/support/builders.ts';
import { credential, type SecretFiles } from './mount.ts';

const now = () => Math.floor(Date.now() / 1000);
const asRead = (files: SecretFiles) =>
  new Map([...files].map(([name, content]) => [name, Buffer.from(content)])) as unknown as Files;

/** The code of the refusal, or `valid`. */
function check(files: SecretFiles, usage: Usage | undefined = 'Server', at = now()): string {
  const found = checkPair(asRead(files), usage, at);
  return found.ok ? 'valid' : found.code;
}

const mixed = (files: SecretFiles, others: SecretFiles, ...names: readonly string[]): SecretFiles =>
  new Map([...files, ...names.map((name) => [name, others.get(name) ?? ''] as const)]);

describe('what is mounted', () => {
  let files: SecretFiles;
  let others: SecretFiles;
  before(async () => {
    files = await credential();
    others = await credential();
  });

  test('is valid as dcred issues it', () => {
    const found = checkPair(asRead(files), 'Server', now());
    assert.ok(found.ok);
    assert.ok(found.expiresAt > now() + 3_500 && found.expiresAt <= now() + 3_600);
    assert.equal(found.keyAlgorithm, 'ECDSAP256');
  });

  test('is valid without the copies for other servers', () => {
    assert.equal(
      check(new Map([...files].filter(([name]) => ['tls.crt', 'dc.key', 'dc.bin'].includes(name)))),
      'valid',
    );
  });

  for (const [name, code] of [
    ['dc.key', 'KeyMismatch'],
    ['dc.bin', 'KeyMismatch'],
    ['dc.hex', 'Mixed'],
    ['dc.pem', 'Mixed'],
    ['fizz.pem', 'Mixed'],
  ] as const) {
    test(`is refused when ${name} is of another mounted version`, () => {
      assert.equal(check(mixed(files, others, name)), code);
    });
  }

  test('is refused where a file holds the credential in the format of another one', () => {
    const formats = ['dc.bin', 'dc.hex', 'dc.pem', 'fizz.pem'] as const;
    for (const name of formats) {
      for (const other of formats) {
        const given = new Map([...files, [name, files.get(other) ?? '']]);
        assert.equal(check(given), name === other ? 'valid' : 'WrongFormat', `${name} with the content of ${other}`);
      }
    }
  });

  test('is refused where any part of fizz.pem is of another one, or missing', () => {
    const blocksOf = (given: SecretFiles) =>
      String(given.get('fizz.pem')).match(/-----BEGIN [^-]+-----\n[^-]+-----END [^-]+-----\n/g) ?? [];
    const other = new Map([...others, ['fizz.pem', String(others.get('fizz.pem'))]]);
    const [credentialBlock = '', keyBlock = '', certificateBlock = ''] = blocksOf(files);
    const [, otherKey = ''] = blocksOf(other);
    const fizz = (...blocks: readonly string[]) => check(new Map([...files, ['fizz.pem', blocks.join('')]]));
    assert.equal(fizz(credentialBlock, keyBlock, certificateBlock), 'valid');
    assert.equal(fizz(credentialBlock, otherKey, certificateBlock), 'Mixed');
    assert.equal(fizz(credentialBlock, certificateBlock), 'Mixed');
    assert.equal(fizz(credentialBlock, keyBlock, delegation().chainPem), 'Mixed');
    assert.equal(fizz(credentialBlock, keyBlock), 'Mixed');
    assert.equal(
      fizz(...[credentialBlock, keyBlock, certificateBlock].map((it) => it.replaceAll('SERVER', 'CLIENT'))),
      'Mixed',
    );
  });

  test('is refused under another certificate', () => {
    const other = delegation();
    assert.equal(check(new Map([...files, ['tls.crt', other.chainPem]])), 'BadSignature');
  });

  test('is refused once it has expired', () => assert.equal(check(files, 'Server', now() + 3_700), 'Expired'));

  test('is refused for the other side of TLS', async () => {
    assert.equal(check(await credential({ usage: 'Client' })), 'BadSignature');
    assert.equal(check(await credential({ usage: 'Client' }), 'Client'), 'valid');
  });

  test('is valid for either side of TLS where none is demanded, all files for the same', async () => {
    const client = await credential({ usage: 'Client' });
    for (const [given, usage] of [
      [files, 'Server'],
      [client, 'Client'],
    ] as const) {
      const found = checkPair(asRead(given), undefined, now());
      assert.ok(found.ok);
      assert.equal(found.usage, usage);
      const expired = checkPair(asRead(given), undefined, now() + 3_700);
      assert.ok(!expired.ok && expired.code === 'Expired');
    }
    const renamed = String(client.get('fizz.pem')).replaceAll('CLIENT', 'SERVER');
    for (const fizz of [files.get('fizz.pem') ?? '', renamed]) {
      const found = checkPair(asRead(new Map([...client, ['fizz.pem', fizz]])), undefined, now());
      assert.ok(!found.ok && found.code === 'Mixed', fizz.toString());
    }
    const neither = checkPair(asRead(new Map([...files, ['tls.crt', delegation().chainPem]])), undefined, now());
    assert.ok(!neither.ok && neither.code === 'BadSignature');
  });

  for (const name of ['tls.crt', 'dc.key', 'dc.bin', 'dc.hex', 'dc.pem', 'fizz.pem']) {
    test(`is refused, and nothing thrown, whatever ${name} holds`, () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 600 }), (content) => {
          assert.notEqual(check(new Map([...files, [name, content]])), 'valid');
        }),
        { numRuns: 60 },
      );
    });
  }

  test('has a fingerprint of its content', async () => {
    const fingerprint = (given: SecretFiles) => {
      const found = checkPair(asRead(given), 'Server', now());
      return found.ok ? found.fingerprint : assert.fail(found.message);
    };
    assert.equal(fingerprint(files), fingerprint(new Map(files)));
    assert.notEqual(fingerprint(files), fingerprint(others));
  });

  test('reports nothing of the key', () => {
    const secret = String(files.get('dc.key')).split('\n')[1] ?? '';
    assert.ok(secret.length > 40);
    for (const given of [files, mixed(files, others, 'dc.bin'), mixed(files, others, 'fizz.pem')]) {
      assert.ok(!inspect(checkPair(asRead(given), 'Server', now()), { depth: 9 }).includes(secret));
    }
  });
});
