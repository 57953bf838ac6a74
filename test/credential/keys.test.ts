import assert from 'node:assert/strict';
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';
import { inspect } from 'node:util';
import { credentialKeyFromPem, generateCredentialKey } from '../../src/credential/credential-key.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { CertificateError, type CertificateErrorCode, CredentialKeyError } from '../../src/credential/errors.ts';
import { writePem } from '../../src/credential/pem.ts';
import { KEY_ALGORITHMS, schemeByKeyAlgorithm, schemeBySubjectPublicKeyInfo } from '../../src/credential/scheme.ts';
import { assertSignerMatches, type Signer, signerFromPem } from '../../src/credential/signer.ts';
import { requestKeyFromPem } from '../../src/provision/certificate-request.ts';
import { convert, type KeyKind, leaf } from '../../testing/support/openssl.ts';
import { vectorKeyPem, vectorLeaf } from './vectors.ts';

/** Every part of an error that a log could show, its causes included. */
function assertNoKeyMaterial(error: unknown, pem: string): void {
  const shown = inspect(error, { depth: 10, showHidden: true });
  for (const line of pem.split('\n').filter((text) => !text.startsWith('-----') && text.length > 8)) {
    assert.ok(!shown.includes(line), 'key material in an error');
  }
}

describe('a signer from PEM', () => {
  function refuses(pem: string, code: CertificateErrorCode, message: RegExp): void {
    assert.throws(
      () => signerFromPem(pem),
      (error: unknown) => {
        assert.ok(error instanceof CertificateError, String(error));
        assert.equal(error.code, code);
        assert.match(error.message, message);
        assertNoKeyMaterial(error, pem);
        return true;
      },
    );
  }

  test('takes SEC1 and PKCS#8 keys, and says which scheme it signs with', () => {
    assert.equal(signerFromPem(vectorKeyPem('leaf')).scheme.name, 'ecdsa_secp256r1_sha256');
    const { keyPem } = leaf({ key: 'P-384' });
    assert.equal(signerFromPem(keyPem).scheme.name, 'ecdsa_secp384r1_sha384');
    assert.equal(signerFromPem(convert(keyPem, 'ec')).scheme.name, 'ecdsa_secp384r1_sha384');
    assert.equal(
      signerFromPem(leaf({ key: 'P-521' }).keyPem.replaceAll('\n', '\r\n')).scheme.name,
      'ecdsa_secp521r1_sha512',
    );
  });

  test('takes a SEC1 key that OpenSSL wrote its parameters in front of', () => {
    const pem = convert('', 'ecparam', '-genkey', '-name', 'prime256v1');
    assert.match(pem, /BEGIN EC PARAMETERS/);
    assert.equal(signerFromPem(pem).scheme.keyAlgorithm, 'ECDSAP256');
  });

  test('refuses RSA, Ed25519 and unknown curves, naming the browser that would', () => {
    for (const key of ['RSA', 'Ed25519', 'secp256k1'] as const) {
      refuses(leaf({ key }).keyPem, 'CertificateKeyUnsupported', /Firefox/);
    }
  });

  test('refuses an encrypted key, saying how to decrypt it', () => {
    const { keyPem } = leaf();
    const message = /is encrypted.*openssl pkey/;
    refuses(convert(keyPem, 'pkcs8', '-topk8', '-passout', 'pass:secret'), 'CertificateInvalid', message);
    refuses(convert(keyPem, 'ec', '-aes128', '-passout', 'pass:secret'), 'CertificateInvalid', message);
  });

  test('refuses what is not a key', () => {
    const { certificatePem, keyPem } = leaf();
    refuses('', 'CertificateInvalid', /is empty/);
    refuses('hello', 'CertificateInvalid', /cannot be read/);
    refuses(certificatePem, 'CertificateInvalid', /cannot be read/);
    refuses(keyPem.slice(0, 120), 'CertificateInvalid', /cannot be read/);
    refuses(keyPem.replace(/\n[^-]{10}/, '\nAAAAAAAAAA'), 'CertificateInvalid', /cannot be read/);
  });

  test('shows no key when it is printed', () => {
    const pem = vectorKeyPem('leaf');
    assertNoKeyMaterial(signerFromPem(pem), pem);
  });

  test('honours an abort', async () => {
    const signer = signerFromPem(vectorKeyPem('leaf'));
    await assert.rejects(signer.sign(Buffer.from('x'), { signal: AbortSignal.abort() }), { name: 'AbortError' });
  });
});

describe('a signer beside a certificate', () => {
  test('matches the certificate it was made with', async () => {
    await assertSignerMatches(signerFromPem(vectorKeyPem('leaf')), vectorLeaf());
  });

  test('is refused with another key, of the same kind or not', async () => {
    for (const [key, message] of [
      ['P-256', /another key of the same kind/],
      ['P-384', /the key is ECDSAP384, the certificate's is ECDSAP256/],
    ] as const satisfies [KeyKind, RegExp][]) {
      await assert.rejects(assertSignerMatches(signerFromPem(leaf({ key }).keyPem), vectorLeaf()), (error: unknown) => {
        assert.ok(error instanceof CertificateError && error.code === 'CertificateInvalid');
        assert.match(error.message, message);
        assert.match(error.message, /tls\.key and tls\.crt/);
        return true;
      });
    }
  });

  test('is matched by a signature alone, so that a key in a vault can be too', async () => {
    const local = signerFromPem(vectorKeyPem('leaf'));
    const calls: number[] = [];
    const remote: Signer = {
      scheme: local.scheme,
      sign: (message, options) => {
        calls.push(message.length);
        return local.sign(message, options);
      },
    };
    await assertSignerMatches(remote, vectorLeaf());
    assert.equal(calls.length, 1);
    const lying: Signer = { scheme: local.scheme, sign: () => Promise.resolve(Uint8Array.of(1, 2, 3)) };
    await assert.rejects(assertSignerMatches(lying, vectorLeaf()), CertificateError);
  });

  test('never signs what could pass for a credential or a handshake', async () => {
    const seen: Uint8Array[] = [];
    const { scheme } = signerFromPem(vectorKeyPem('leaf'));
    const spy: Signer = {
      scheme,
      sign: (message) => {
        seen.push(message);
        return Promise.resolve(new Uint8Array(8));
      },
    };
    await assert.rejects(assertSignerMatches(spy, vectorLeaf()));
    await assert.rejects(assertSignerMatches(spy, vectorLeaf()));
    assert.ok(seen.every((message) => message[0] !== 0x20));
    assert.notDeepEqual(seen[0], seen[1]);
  });
});

describe('a credential key', () => {
  test('of every algorithm survives its PEM, and is recognised by its public half', async () => {
    for (const algorithm of KEY_ALGORITHMS) {
      const key = await generateCredentialKey(algorithm);
      assert.equal(key.algorithm, algorithm);
      const read = credentialKeyFromPem(key.pkcs8Pem());
      assert.equal(read.algorithm, algorithm);
      assert.deepEqual(read.subjectPublicKeyInfo, key.subjectPublicKeyInfo);
      assert.equal(schemeBySubjectPublicKeyInfo(key.subjectPublicKeyInfo), schemeByKeyAlgorithm(algorithm));
      const publicPem = createPublicKey(key.privateKey).export({ type: 'spki', format: 'pem' });
      assert.equal(convert(key.pkcs8Pem(), 'pkey', '-pubout'), publicPem, 'OpenSSL reads the same public key');
    }
  });

  test('that is written by template is what OpenSSL writes, even where its number begins with zeros', async () => {
    // One number in 256 begins with a zero byte.
    for (let count = 0; count < 1_000; count += 1) {
      const key = await generateCredentialKey('ECDSAP256');
      const parsed = createPrivateKey(key.pkcs8Pem());
      assert.ok(parsed.export({ type: 'pkcs8', format: 'pem' }) === key.pkcs8Pem(), 'the private half');
      const spki = createPublicKey(parsed).export({ type: 'spki', format: 'der' });
      assert.deepEqual(Buffer.from(key.subjectPublicKeyInfo), spki);
    }
  });

  test('that dcred cannot use is refused, without a byte of it', () => {
    const { keyPem } = leaf({ key: 'RSA' });
    const unfit = (pem: string, code: string) =>
      assert.throws(
        () => credentialKeyFromPem(pem),
        (error: unknown) => {
          assert.ok(error instanceof CredentialKeyError && error.code === code, String(error));
          assertNoKeyMaterial(error, pem);
          return true;
        },
      );
    unfit(keyPem, 'KeyUnsupported');
    unfit(keyPem.slice(0, 200), 'KeyInvalid');
    unfit('', 'KeyInvalid');
    unfit(leaf().certificatePem, 'KeyInvalid');
  });

  test('shows no key when it is printed', async () => {
    const key = await generateCredentialKey('ECDSAP256');
    assertNoKeyMaterial(key, key.pkcs8Pem());
    assert.ok(!JSON.stringify(key).includes('PRIVATE'));
  });
});

describe('a private key whose two halves are of different keys', () => {
  const readers = { credentialKeyFromPem, signerFromPem, requestKeyFromPem };
  /** Both end in the public point: an uncompressed one is 0x04 and two coordinates. */
  const mixed = (namedCurve: string, format: 'pkcs8' | 'sec1', pointLength: number) => {
    const [one, other] = [1, 2].map(() => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve });
      return Buffer.from(privateKey.export({ type: format, format: 'der' }) as Uint8Array);
    });
    assert.ok(one !== undefined && other !== undefined);
    const der = Buffer.concat([one.subarray(0, -pointLength), other.subarray(-pointLength)]);
    return writePem(format === 'sec1' ? 'EC PRIVATE KEY' : 'PRIVATE KEY', der);
  };

  for (const [namedCurve, pointLength] of [
    ['prime256v1', 65],
    ['secp384r1', 97],
    ['secp521r1', 133],
  ] as const) {
    for (const format of ['pkcs8', 'sec1'] as const) {
      test(`is refused wherever one is read: ${namedCurve} as ${format}`, () => {
        const pem = mixed(namedCurve, format, pointLength);
        for (const [name, read] of Object.entries(readers)) {
          assert.throws(
            () => read(pem),
            (error: unknown) => {
              assert.ok(error instanceof CredentialKeyError || error instanceof CertificateError, String(error));
              assert.match(error.message, /private half does not belong to its public half/, name);
              assertNoKeyMaterial(error, pem);
              return true;
            },
            name,
          );
        }
      });
    }
  }
});

test('a leaf and its key, as cert-manager writes them, make a delegation', async () => {
  const { certificatePem, keyPem } = leaf();
  await assertSignerMatches(signerFromPem(keyPem), readDelegationCertificate(certificatePem));
});
