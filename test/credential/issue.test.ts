import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { describe, test } from 'node:test';
import { type CredentialKey, generateCredentialKey } from '../../src/credential/credential-key.ts';
import {
  type CredentialRequest,
  type CredentialSigner,
  composingSigner,
} from '../../src/credential/credential-signer.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import {
  CertificateError,
  CredentialKeyError,
  MalformedCredentialError,
  UnexpectedCredentialError,
} from '../../src/credential/errors.ts';
import { issueCredential } from '../../src/credential/issue.ts';
import { verifyWithNoble } from '../../src/credential/noble.ts';
import { KEY_ALGORITHMS, USAGES } from '../../src/credential/scheme.ts';
import { verifyWithNode } from '../../src/credential/signature.ts';
import { type Signer, signerFromPem } from '../../src/credential/signer.ts';
import { verifyCredential } from '../../src/credential/verify.ts';
import { signatureInput } from '../../src/credential/wire.ts';
import { acceptsSignature, convert, type KeyKind, leaf } from '../../testing/support/openssl.ts';

const LEAF_KINDS = [
  ['P-256', 'sha256'],
  ['P-384', 'sha384'],
  ['P-521', 'sha512'],
] as const satisfies [KeyKind, string][];

function delegation(key: KeyKind = 'P-256') {
  const { certificatePem, keyPem } = leaf({ key });
  const certificate = readDelegationCertificate(certificatePem);
  return { certificate, certificatePem, signer: signerFromPem(keyPem), now: certificate.notBefore + 10 * 86_400 };
}

for (const [kind, hash] of LEAF_KINDS) {
  describe(`a ${kind} leaf`, () => {
    const { certificate, certificatePem, now, signer } = delegation(kind);

    for (const algorithm of KEY_ALGORITHMS) {
      for (const usage of USAGES) {
        test(`issues ${algorithm} credentials for a ${usage}, which both verifiers and OpenSSL accept`, async () => {
          const key = await generateCredentialKey(algorithm);
          const issued = await issueCredential({ certificate, signer, key, usage, lifetimeSeconds: 3600, now });
          assert.equal(issued.expiresAt, now + 3600);
          assert.equal(issued.issuedAt, now);
          assert.equal(issued.keyAlgorithm, algorithm);
          const publicKey = key.subjectPublicKeyInfo;
          for (const verifySignature of [verifyWithNode, verifyWithNoble]) {
            const result = verifyCredential({
              bytes: issued.bytes,
              certificate,
              usage,
              now,
              publicKey,
              verifySignature,
            });
            assert.ok(result.ok, JSON.stringify(result));
            assert.equal(result.expiresAt, issued.expiresAt);
            assert.equal(result.keyAlgorithm, algorithm);
          }
          const claim = {
            hash,
            publicKeyPem: convert(certificatePem, 'x509', '-noout', '-pubkey'),
            message: signatureInput(usage, certificate.der, issued.credential, issued.credential.algorithm),
            signature: issued.credential.signature,
          };
          assert.equal(acceptsSignature(claim), true);
          assert.equal(acceptsSignature({ ...claim, message: Buffer.concat([claim.message, Buffer.of(0)]) }), false);
        });
      }
    }
  });
}

describe('issuing', () => {
  const { certificate, now, signer } = delegation();
  const request = { certificate, signer, usage: 'Server', lifetimeSeconds: 3600, now } as const;

  test('a P-256 credential by a P-256 leaf is 174 to 176 bytes', async () => {
    const { bytes } = await issueCredential({ ...request, key: await generateCredentialKey('ECDSAP256') });
    assert.ok(bytes.length >= 173 && bytes.length <= 176, String(bytes.length));
  });

  test('needs the public half of the key alone', async () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'secp384r1' });
    const subjectPublicKeyInfo = publicKey.export({ type: 'spki', format: 'der' });
    const issued = await issueCredential({ ...request, subjectPublicKeyInfo });
    assert.equal(issued.keyAlgorithm, 'ECDSAP384');
    assert.equal(verifyCredential({ ...request, bytes: issued.bytes, publicKey: subjectPublicKeyInfo }).ok, true);
  });

  test('is refused for a public key that peers would refuse', async () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const subjectPublicKeyInfo = publicKey.export({ type: 'spki', format: 'der' });
    await assert.rejects(issueCredential({ ...request, subjectPublicKeyInfo }), CredentialKeyError);
  });

  test('is cut to the certificate’s end, and refused in its last minute', async () => {
    const key = await generateCredentialKey('ECDSAP256');
    const late = await issueCredential({ ...request, key, now: certificate.notAfter - 600 });
    assert.equal(late.expiresAt, certificate.notAfter - 1);
    await assert.rejects(issueCredential({ ...request, key, now: certificate.notAfter - 60 }), CertificateError);
  });

  test('is refused with the signer of another kind of key', async () => {
    const key = await generateCredentialKey('ECDSAP256');
    const other = delegation('P-384').signer;
    await assert.rejects(issueCredential({ ...request, key, signer: other }), (error: unknown) => {
      assert.ok(error instanceof CertificateError && error.code === 'CertificateInvalid');
      return true;
    });
  });

  test('with the signer of another key makes a credential that verification refuses', async () => {
    const key = await generateCredentialKey('ECDSAP256');
    const { bytes } = await issueCredential({ ...request, key, signer: delegation().signer });
    const result = verifyCredential({ ...request, bytes });
    assert.ok(!result.ok && result.code === 'BadSignature');
  });

  test('passes the signer’s failure on, and its abort signal down', async () => {
    const key = await generateCredentialKey('ECDSAP256');
    const limited = new Error('429: too many signatures');
    const failing: Signer = { scheme: signer.scheme, sign: () => Promise.reject(limited) };
    await assert.rejects(issueCredential({ ...request, key, signer: failing }), limited);
    const aborted = AbortSignal.abort(new Error('shutting down'));
    await assert.rejects(issueCredential({ ...request, key, signal: aborted }), /shutting down/);
  });

  test('can be delegated to a signer of credentials, whose request has everything that a credential is made from', async () => {
    const key = await generateCredentialKey('ECDSAP384');
    const holder = { namespace: 'edge', resource: 'web', podUid: 'uid' };
    const asked: CredentialRequest[] = [];
    const remote: CredentialSigner = {
      signCredential: (fields, options) => {
        asked.push(fields);
        return composingSigner(signer).signCredential(fields, options);
      },
    };
    const { bytes, expiresAt } = await issueCredential({ ...request, key, signer: remote, holder });
    assert.equal(verifyCredential({ ...request, bytes, publicKey: key.subjectPublicKeyInfo }).ok, true);
    const { subjectPublicKeyInfo } = key;
    const fields = {
      certificate,
      usage: 'Server',
      dcCertVerifyAlgorithm: 0x0503,
      subjectPublicKeyInfo,
      expiresAt,
      holder,
    };
    assert.deepEqual(asked, [fields]);
  });

  test('refuses an answer that is not the credential that was requested', async () => {
    const [key, other] = [await generateCredentialKey('ECDSAP256'), await generateCredentialKey('ECDSAP256')];
    const honest = composingSigner(signer);
    const answering = (change: Partial<CredentialRequest>): CredentialSigner => ({
      signCredential: (fields, options) => honest.signCredential({ ...fields, ...change }, options),
    });
    for (const change of [
      { expiresAt: now + 7200 },
      { dcCertVerifyAlgorithm: 0x0503 },
      { subjectPublicKeyInfo: other.subjectPublicKeyInfo },
    ]) {
      await assert.rejects(issueCredential({ ...request, key, signer: answering(change) }), UnexpectedCredentialError);
    }
    const garbage: CredentialSigner = { signCredential: () => Promise.resolve(Uint8Array.of(1, 2, 3)) };
    await assert.rejects(issueCredential({ ...request, key, signer: garbage }), MalformedCredentialError);
    // Signed by another key, or over another usage: the fields are right, and it does not verify.
    const { bytes } = await issueCredential({ ...request, key, signer: answering({ usage: 'Client' }) });
    const result = verifyCredential({ ...request, bytes });
    assert.ok(!result.ok && result.code === 'BadSignature');
  });

  test('never makes the same key twice', async () => {
    const keys = await Promise.all(Array.from({ length: 50 }, () => generateCredentialKey('ECDSAP256')));
    const distinct = new Set(keys.map((key: CredentialKey) => Buffer.from(key.subjectPublicKeyInfo).toString('hex')));
    assert.equal(distinct.size, 50);
  });
});
