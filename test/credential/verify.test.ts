import assert from 'node:assert/strict';
import { createHash, createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { before, describe, test } from 'node:test';
import { p256 } from '@noble/curves/nist.js';
import { readCertificateChain } from '../../src/credential/certificate.ts';
import {
  type CredentialKey,
  credentialKeyFromPem,
  generateCredentialKey,
} from '../../src/credential/credential-key.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { verifyWithNoble } from '../../src/credential/noble.ts';
import { type SignatureScheme, schemeByKeyAlgorithm, type Usage } from '../../src/credential/scheme.ts';
import { verifyWithNode } from '../../src/credential/signature.ts';
import { signerFromPem } from '../../src/credential/signer.ts';
import { type RefusalCode, type VerifyResult, verifyCredential } from '../../src/credential/verify.ts';
import {
  type Credential,
  type DelegatedCredential,
  encodeDelegatedCredential,
  signatureInput,
} from '../../src/credential/wire.ts';
import { type LeafOptions, leaf } from '../../testing/support/openssl.ts';
import { VECTOR_TIME, type VectorName, vectorBytes, vectorKeyPem, vectorLeaf } from './vectors.ts';

const DAY = 86_400;

const VERIFIERS = [
  ['node:crypto', verifyWithNode],
  ['@noble/curves', verifyWithNoble],
] as const;

function refusedAs(result: VerifyResult, code: RefusalCode, message?: RegExp): void {
  assert.ok(!result.ok, 'accepted');
  assert.equal(result.code, code, result.message);
  if (message !== undefined) assert.match(result.message, message);
}

for (const [library, verifySignature] of VERIFIERS) {
  describe(`the vectors, by ${library}`, () => {
    const judge = (name: VectorName, usage: Usage = 'Server', now = VECTOR_TIME) =>
      verifyCredential({
        bytes: vectorBytes(name),
        certificate: vectorLeaf(),
        usage,
        now,
        publicKey: credentialKeyFromPem(vectorKeyPem(name)).subjectPublicKeyInfo,
        verifySignature,
      });

    test('the P-256 and P-384 credentials are good', () => {
      for (const name of ['p256', 'p384'] as const) {
        const result = judge(name);
        assert.ok(result.ok, JSON.stringify(result));
        assert.ok(result.expiresAt > VECTOR_TIME);
        assert.ok(result.checks.every((check) => check.ok));
      }
    });

    test('the credential signed for a client is refused to a server, and good for a client', () => {
      refusedAs(judge('client'), 'BadSignature', /signed for the usage Client, not Server/);
      assert.equal(judge('client', 'Client').ok, true);
      refusedAs(judge('p256', 'Client'), 'BadSignature', /signed for the usage Server, not Client/);
    });

    test('the credential of eight days is refused, and good a day and an hour later', () => {
      refusedAs(judge('long'), 'ValidTooLong', /seven days/);
      assert.equal(judge('long', 'Server', VECTOR_TIME + DAY + 3600).ok, true);
    });

    test('the expired credential is refused, and was good before', () => {
      refusedAs(judge('exp'), 'Expired', /expired at 2026-11-22T21:40:46Z.*issue a new one/);
      assert.equal(judge('exp', 'Server', vectorLeaf().notBefore).ok, true);
    });

    test('every bit of the signature matters', () => {
      const bytes = vectorBytes('p256');
      for (let at = bytes.length - 70; at < bytes.length; at += library === 'node:crypto' ? 1 : 7) {
        const changed = Uint8Array.from(bytes);
        changed[at] = (changed[at] ?? 0) ^ 1;
        refusedAs(
          verifyCredential({
            bytes: changed,
            certificate: vectorLeaf(),
            usage: 'Server',
            now: VECTOR_TIME,
            verifySignature,
          }),
          'BadSignature',
        );
      }
    });
  });
}

describe('what a credential may be refused for', () => {
  const { certificatePem, keyPem } = leaf();
  const certificate = readDelegationCertificate(certificatePem);
  const signer = signerFromPem(keyPem);
  const now = certificate.notBefore + 30 * DAY;
  let key: CredentialKey;
  before(async () => {
    key = await generateCredentialKey('ECDSAP256');
  });

  /** Signed properly, whatever stands in it: what our issuer refuses to make, an attacker or a bug may. */
  async function credential(
    changes: Partial<DelegatedCredential> = {},
    usage: Usage = 'Server',
  ): Promise<DelegatedCredential> {
    const body: Credential = {
      validTime: 31 * DAY,
      dcCertVerifyAlgorithm: 0x0403,
      subjectPublicKeyInfo: key.subjectPublicKeyInfo,
      ...changes,
    };
    const algorithm = changes.algorithm ?? signer.scheme.code;
    const signature = await signer.sign(signatureInput(usage, certificate.der, body, algorithm), {});
    return { ...body, algorithm, signature: changes.signature ?? signature };
  }
  const judge = (dc: DelegatedCredential, at = now) =>
    verifyCredential({ credential: dc, certificate, usage: 'Server', now: at });

  test('nothing, when it is good; encoded or not', async () => {
    const dc = await credential();
    const publicKey = key.subjectPublicKeyInfo;
    const result = verifyCredential({
      bytes: encodeDelegatedCredential(dc),
      certificate,
      usage: 'Server',
      now,
      publicKey,
    });
    assert.ok(result.ok);
    assert.equal(result.expiresAt, certificate.notBefore + 31 * DAY);
    assert.equal(result.keyAlgorithm, 'ECDSAP256');
    assert.equal(judge(dc).ok, true);
  });

  test('bytes that are not a credential, with the reason', () => {
    const result = verifyCredential({ bytes: Uint8Array.of(1, 2, 3), certificate, usage: 'Server', now });
    refusedAs(result, 'Malformed', /TruncatedValidTime/);
    assert.equal(result.checks.length, 1);
  });

  test('fields that no credential can hold, with the reason', async () => {
    refusedAs(judge({ ...(await credential()), validTime: -1 }), 'Malformed', /ValidTimeOutOfRange/);
  });

  test('it is good in its last second, and expired in the next', async () => {
    const dc = await credential();
    assert.equal(judge(dc, certificate.notBefore + 31 * DAY).ok, true);
    refusedAs(judge(dc, certificate.notBefore + 31 * DAY + 1), 'Expired');
  });

  test('exactly seven days may remain, and not a second more', async () => {
    assert.equal(judge(await credential({ validTime: 37 * DAY })).ok, true);
    refusedAs(judge(await credential({ validTime: 37 * DAY + 1 })), 'ValidTooLong');
  });

  test('it must expire before its certificate, by a second', async () => {
    const life = certificate.notAfter - certificate.notBefore;
    const late = certificate.notAfter - 3 * DAY;
    assert.equal(judge(await credential({ validTime: life - 1 }), late).ok, true);
    refusedAs(judge(await credential({ validTime: life }), late), 'OutlivesCertificate');
  });

  test('a certificate that is not valid yet, or has expired', async () => {
    const dc = await credential({ validTime: 5 });
    refusedAs(judge(dc, certificate.notBefore - 1), 'CertificateInvalid', /not valid before/);
    refusedAs(judge(dc, certificate.notAfter + 1), 'CertificateInvalid', /expired/);
  });

  test('a dc_cert_verify_algorithm that RFC 9345 forbids or does not define', async () => {
    for (const code of [0x0804, 0x0805, 0x0806]) {
      refusedAs(
        judge(await credential({ dcCertVerifyAlgorithm: code })),
        'VerifyAlgorithmUnsupported',
        /rsa_pss_rsae.*forbids/,
      );
    }
    refusedAs(judge(await credential({ dcCertVerifyAlgorithm: 0x0000 })), 'VerifyAlgorithmUnsupported', /0x0000/);
  });

  test('an RSA key in the credential', async () => {
    const { publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    refusedAs(judge(await credential({ subjectPublicKeyInfo: spki })), 'PublicKeyUnsuitable', /another kind/);
  });

  test('a key of another curve than its algorithm is bound to', async () => {
    refusedAs(
      judge(await credential({ dcCertVerifyAlgorithm: 0x0503 })),
      'PublicKeyUnsuitable',
      /ecdsa_secp384r1_sha384.*ECDSAP256/,
    );
  });

  test('a key that is not a point on its curve', async () => {
    const spki = Uint8Array.from(key.subjectPublicKeyInfo);
    spki.fill(0xff, spki.length - 32);
    refusedAs(judge(await credential({ subjectPublicKeyInfo: spki })), 'PublicKeyUnsuitable', /not a point/);
  });

  test('a compressed point: TLS knows only uncompressed ones', async () => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    const compressed = Buffer.concat([
      Buffer.from('3039301306072a8648ce3d020106082a8648ce3d030107032200', 'hex'),
      Uint8Array.of(2),
      spki.subarray(27, 59),
    ]);
    refusedAs(judge(await credential({ subjectPublicKeyInfo: compressed })), 'PublicKeyUnsuitable');
  });

  test('a signature algorithm that is not that of the certificate’s key', async () => {
    refusedAs(
      judge(await credential({ algorithm: 0x0503 })),
      'SignatureAlgorithmMismatch',
      /ecdsa_secp384r1_sha384.*prime256v1/,
    );
  });

  test('another key than the pod’s', async () => {
    const other = await generateCredentialKey('ECDSAP256');
    const result = verifyCredential({
      credential: await credential(),
      certificate,
      usage: 'Server',
      now,
      publicKey: other.subjectPublicKeyInfo,
    });
    refusedAs(result, 'KeyMismatch', /dc\.key/);
  });

  test('a new certificate on the same key: the certificate is part of what is signed', async () => {
    const der = Buffer.from(certificate.der);
    const renewed = { ...certificate, der: Uint8Array.from(der.fill(0, der.length - 1)) };
    refusedAs(
      verifyCredential({ credential: await credential(), certificate: renewed, usage: 'Server', now }),
      'BadSignature',
      /a new certificate voids every credential/,
    );
  });

  test('a certificate that may not delegate', async () => {
    const cases: readonly [LeafOptions, RefusalCode][] = [
      [{ delegationUsage: null }, 'CertificateCannotDelegate'],
      [{ keyUsage: 'keyAgreement' }, 'CertificateCannotDelegate'],
      [{ key: 'RSA' }, 'CertificateKeyUnsupported'],
      [{ key: 'Ed25519' }, 'CertificateKeyUnsupported'],
    ];
    const dc = await credential();
    for (const [options, code] of cases) {
      const [unfit] = readCertificateChain(leaf(options).certificatePem);
      refusedAs(
        verifyCredential({ credential: dc, certificate: unfit, usage: 'Server', now: unfit.notBefore + 30 * DAY }),
        code,
      );
    }
  });

  test('several things at once: all are reported, the first is the reason', async () => {
    const dc = await credential({ validTime: 1, dcCertVerifyAlgorithm: 0x0804, signature: Uint8Array.of(1) });
    const result = judge(dc);
    refusedAs(result, 'VerifyAlgorithmUnsupported');
    const failed = result.checks.filter((check) => !check.ok).map((check) => check.code);
    assert.deepEqual(failed, ['VerifyAlgorithmUnsupported', 'PublicKeyUnsuitable', 'Expired', 'BadSignature']);
  });
});

describe('node:crypto and @noble/curves agree', () => {
  const message = Buffer.from('agree on this');

  function agree(scheme: SignatureScheme, publicKey: CredentialKey['privateKey'], signature: Uint8Array): boolean {
    const claim = { scheme, publicKey, message, signature };
    const byNode = verifyWithNode(claim);
    assert.equal(verifyWithNoble(claim), byNode, `${scheme.name} ${Buffer.from(signature).toString('hex')}`);
    return byNode;
  }

  for (const algorithm of ['ECDSAP256', 'ECDSAP384', 'ECDSAP521', 'Ed25519'] as const) {
    test(`on ${algorithm} signatures, whole and corrupted`, async () => {
      const scheme = schemeByKeyAlgorithm(algorithm);
      const key = await generateCredentialKey(algorithm);
      const publicKey = createPublicKey(key.privateKey);
      for (let round = 0; round < 8; round++) {
        const signature = sign(scheme.hash, message, { key: key.privateKey, dsaEncoding: 'der' });
        assert.equal(agree(scheme, publicKey, signature), true);
        for (const corrupted of corruptions(signature, round)) assert.equal(agree(scheme, publicKey, corrupted), false);
      }
    });
  }

  test('on signatures with the high and the low S alike: TLS takes both', async () => {
    const key = await generateCredentialKey('ECDSAP256');
    const signature = p256.Signature.fromBytes(sign('sha256', message, key.privateKey), 'der');
    const mirrored = new p256.Signature(signature.r, p256.Point.Fn.ORDER - signature.s);
    for (const one of [signature, mirrored]) {
      assert.equal(agree(schemeByKeyAlgorithm('ECDSAP256'), createPublicKey(key.privateKey), one.toBytes('der')), true);
    }
  });

  /** Deterministic by round, and each certainly wrong. */
  function* corruptions(signature: Uint8Array, round: number): Generator<Uint8Array> {
    const at = createHash('sha256').update(`${round}`).digest().readUInt32BE() % signature.length;
    const flipped = Uint8Array.from(signature);
    flipped[at] = (flipped[at] ?? 0) ^ (1 << (round % 8));
    yield flipped;
    yield signature.subarray(0, signature.length - 1);
    yield Buffer.concat([signature, Uint8Array.of(0)]);
    yield new Uint8Array();
    yield new Uint8Array(signature.length);
    yield Buffer.from('3006020100020100', 'hex');
    yield Buffer.from('3006020101020101', 'hex');
  }
});
