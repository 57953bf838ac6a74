/** Key URIs: what each form means, what is refused, and that nothing of a PIN is ever quoted. */

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { describeKeyUri, looksLikeKeyUri, parseKeyUri } from '../../src/keys/key-uri.ts';
import { KeyUriError } from '../../src/keys/percent-decode.ts';

const MODULE = 'module-path=/usr/lib/softhsm/libsofthsm2.so';

describe('a key URI', () => {
  test('names a file', () => {
    for (const uri of [
      'file:/etc/tls.key',
      'file:///etc/tls.key',
      'FILE://localhost/etc/tls.key',
      'file:/etc/t%6cs.key',
    ]) {
      assert.deepEqual(parseKeyUri(uri), { scheme: 'file', path: '/etc/tls.key' }, uri);
    }
    for (const uri of [
      'file:',
      'file:tls.key',
      'file:./tls.key',
      'file://host/tls.key',
      'file:////etc/x',
      'file:/a%00b',
      'file:/a%zz',
      'file:/a b',
      'file:/%ff',
    ]) {
      assert.throws(() => parseKeyUri(uri), KeyUriError, uri);
    }
  });

  test('names a key of AWS KMS', () => {
    const id = '1234abcd-12ab-34cd-56ef-1234567890ab';
    const arn = `arn:aws:kms:eu-west-1:111122223333:key/${id}`;
    const expected = { scheme: 'awskms', endpoint: undefined, region: undefined };
    assert.deepEqual(parseKeyUri(`awskms:///${id}`), { ...expected, keyId: id });
    assert.deepEqual(parseKeyUri('awskms:///alias/web/tls'), { ...expected, keyId: 'alias/web/tls' });
    assert.deepEqual(parseKeyUri(`awskms:///${arn}`), { ...expected, keyId: arn, region: 'eu-west-1' });
    assert.deepEqual(parseKeyUri('awskms:///arn:aws-cn:kms:cn-north-1:111122223333:alias/web'), {
      ...expected,
      keyId: 'arn:aws-cn:kms:cn-north-1:111122223333:alias/web',
      region: 'cn-north-1',
    });
    assert.deepEqual(parseKeyUri(`awskms://kms.example:4566/${id}`), {
      ...expected,
      endpoint: 'kms.example:4566',
      keyId: id,
    });
    for (const uri of [
      'awskms:',
      'awskms:///',
      `awskms://${id}`,
      'awskms:///alias/',
      'awskms:///alias/a b',
      'awskms:///arn:aws:kms:x:1:key/a',
      'awskms:///a/../b',
      `awskms://a@b/${id}`,
      `awskms://kms.example:65536/${id}`,
      `awskms:///${id}?x=1`,
    ]) {
      assert.throws(() => parseKeyUri(uri), KeyUriError, uri);
    }
  });

  test('names a key of a transit engine', () => {
    assert.deepEqual(parseKeyUri('hashivault://web-tls.2026'), { scheme: 'hashivault', keyName: 'web-tls.2026' });
    for (const uri of [
      'hashivault:',
      'hashivault://',
      'hashivault:web',
      'hashivault:///web',
      'hashivault://a/b',
      'hashivault://../x',
      'hashivault://a?b',
      'hashivault://-a',
      'hashivault://a.',
    ]) {
      assert.throws(() => parseKeyUri(uri), KeyUriError, uri);
    }
  });

  test('names a key on a token, as in RFC 7512', () => {
    assert.deepEqual(
      parseKeyUri(
        `pkcs11:token=The%20Software%20PKCS%2311;object=web;type=private;id=%01%ff?${MODULE}&pin-source=file:///run/pin`,
      ),
      {
        scheme: 'pkcs11',
        match: { token: 'The Software PKCS#11', object: 'web' },
        id: Uint8Array.of(0x01, 0xff),
        modulePath: '/usr/lib/softhsm/libsofthsm2.so',
        pinSource: '/run/pin',
        pinValue: undefined,
      },
    );
    const slot = parseKeyUri(`pkcs11:slot-id=327;serial=DECC0401648;id=a?pin-value=12%2634&${MODULE}`);
    assert.ok(slot.scheme === 'pkcs11');
    assert.deepEqual(slot.match, { serial: 'DECC0401648', 'slot-id': '327' });
    assert.equal(slot.pinValue, '12&34');
    const numbers = parseKeyUri(`pkcs11:slot-id=007;library-version=2;object=a?${MODULE}`);
    assert.ok(numbers.scheme === 'pkcs11');
    assert.deepEqual(numbers.match, { 'slot-id': '7', 'library-version': '2.0', object: 'a' });
    const plain = parseKeyUri(`pkcs11:object=%e2%9c%93?${MODULE}&pin-source=/run/pin`);
    assert.ok(plain.scheme === 'pkcs11');
    assert.deepEqual([plain.match.object, plain.pinSource], ['✓', '/run/pin']);
  });

  test('is refused with the attribute that is wrong', () => {
    for (const [uri, message] of [
      ['pkcs11:object=web', /module-path/],
      [`pkcs11:token=a?${MODULE}`, /object=LABEL or id=ID/],
      [`pkcs11:?${MODULE}`, /object=LABEL or id=ID/],
      [`pkcs11:object=a;object=b?${MODULE}`, /object occurs twice/],
      [`pkcs11:object=a;colour=red?${MODULE}`, /unknown attribute "colour" before the/],
      [`pkcs11:object=a;type=cert?${MODULE}`, /type: expected "private"/],
      [`pkcs11:object=a;slot-id=0x1?${MODULE}`, /slot-id: expected a decimal/],
      [`pkcs11:object=a%?${MODULE}`, /object: the percent sign/],
      [`pkcs11:object=a%00?${MODULE}`, /object: expected UTF-8/],
      ['pkcs11:object=a?module-path=lib.so', /module-path: expected the absolute/],
      ['pkcs11:object=a?module-name=softhsm', /module-name is not supported/],
      [`pkcs11:object=a?${MODULE}&pin-source=%7ccat`, /pin-source: expected the absolute/],
      [`pkcs11:object=a?${MODULE}&pin-source=/a&pin-value=1`, /one of them only/],
      [`pkcs11:object=a?${MODULE}&pin-value=`, /pin-value: expected a PIN/],
      [`pkcs11:object=a?${MODULE}&pin-value=1&pin-value=2`, /pin-value occurs twice/],
      ['awskm:///x', /scheme "awskm:"/],
      ['/etc/tls.key', /found no scheme/],
      [`pkcs11:object=${'a'.repeat(5_000)}`, /at most 4096/],
    ] as const) {
      assert.throws(() => parseKeyUri(uri), { code: 'KeyUriInvalid', message }, uri);
    }
  });

  test('is distinguished from a path', () => {
    for (const uri of ['pkcs11:object=a', 'awskms:///x', 'FILE:/x', 'hashivualt://x'])
      assert.ok(looksLikeKeyUri(uri), uri);
    for (const path of ['tls.key', '/etc/tls.key', './a:b', '../a', 'a/b:c', '-', ''])
      assert.ok(!looksLikeKeyUri(path), path);
  });

  test('never shows a PIN, whatever is wrong with the rest', () => {
    const part = fc.constantFrom('object=web', 'id=%01', 'token=t', 'slot-id=x', 'x=y', 'object=%', 'type=cert', '');
    const query = fc.constantFrom(MODULE, 'module-path=x', 'module-name=y', 'pin-source=/x', 'nope', '');
    const pin = fc.constantFrom(
      'pin-value=S3CRET',
      'pin-value=S3CRET%',
      'pin-value=S3CRET%00',
      'pin-value=S3CRET S3CRET',
      'pin-source=S3CRET',
      'pin-source=file:S3CRET',
    );
    // Also where a user typed a wrong separator, so that the PIN is in a label or in the path of a library.
    const separator = fc.constantFrom(';', '&', '?');
    const separators = fc.record({ path: separator, mark: separator, query: separator });
    const others = fc.array(query, { maxLength: 3 });
    fc.assert(
      fc.property(fc.array(part, { maxLength: 3 }), others, pin, separators, (path, before, secret, by) => {
        const uri = `pkcs11:${path.join(by.path)}${by.mark}${[...before, secret].join(by.query)}`;
        try {
          const parsed = parseKeyUri(uri);
          assert.doesNotMatch(describeKeyUri(parsed), /S3CRET/);
          // Messages of the token show this path.
          if (parsed.scheme === 'pkcs11') assert.doesNotMatch(parsed.modulePath, /S3CRET/);
        } catch (error) {
          assert.ok(error instanceof KeyUriError, String(error));
          assert.doesNotMatch(error.message, /S3CRET/);
        }
      }),
    );
  });

  test('from any text is parsed, or gives an error that is short and printable', () => {
    const scheme = fc.constantFrom('pkcs11:', 'awskms://', 'hashivault://', 'file:', 'FILE:', 'gcpkms://', '');
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 300 }),
      fc.string({
        unit: fc.constantFrom('%', '2', 'f', 'F', '.', '/', '..', '?', '&', ';', '=', '\0', '\n'),
        maxLength: 40,
      }),
    );
    fc.assert(
      fc.property(scheme, text, (name, rest) => {
        try {
          const uri = parseKeyUri(name + rest);
          assert.match(describeKeyUri(uri), /^[\x21-\x7e]+$/);
          // These become part of a path or a request: nothing in them may lead elsewhere.
          if (uri.scheme === 'hashivault') assert.match(uri.keyName, /^(?!\.)[A-Za-z0-9_.-]+$/);
          if (uri.scheme === 'awskms') assert.match(uri.keyId, /^[A-Za-z0-9/:_-]+$/);
        } catch (error) {
          assert.ok(error instanceof KeyUriError, String(error));
          assert.ok(error.message.length < 1_000, error.message);
          assert.doesNotMatch(error.message, /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  test('of a transit key or a KMS key leads to no other path', () => {
    for (const uri of [
      'hashivault://..',
      'hashivault://a/../b',
      'hashivault://a%2f..%2fb',
      'hashivault://a?x=1',
      'hashivault://a#b',
      'hashivault://a b',
      'hashivault://a\\b',
      'hashivault://.a',
      'awskms:///alias/../key',
      'awskms:///alias/a?x=1',
      'awskms:///alias/a%2e',
      'awskms://h/../alias/a',
      'awskms://u:p@h/alias/a',
    ]) {
      assert.throws(() => parseKeyUri(uri), KeyUriError, uri);
    }
  });

  test('means the same after it was described', () => {
    for (const uri of [
      'file:/etc/tls.key',
      'awskms://h:1/alias/a',
      'awskms:///abc',
      'hashivault://web',
      'file:/a%25b%20c',
    ]) {
      assert.equal(describeKeyUri(parseKeyUri(uri)), uri);
    }
    assert.equal(
      describeKeyUri(parseKeyUri(`pkcs11:token=a%20b;id=%0A?${MODULE}&pin-value=1`)),
      'pkcs11:token=a%20b;id=%0a',
    );
  });
});
