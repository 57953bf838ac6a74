/** What an issuer signs, and what it never signs: requests made by OpenSSL, hostile ones, and the certificates made from them. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { readPem, writePem } from '../../src/credential/pem.ts';
import { signerFromPem } from '../../src/credential/signer.ts';
import { readAuthority } from '../../src/issuer/authority.ts';
import { parseGoDuration, readCertificateRequest, stageOf, statusFor } from '../../src/issuer/certificate-request.ts';
import { isAllowed, planCertificate } from '../../src/issuer/policy.ts';
import { CsrError, readCsr } from '../../src/issuer/read-csr.ts';
import { signLeaf } from '../../src/issuer/sign-leaf.ts';
import { type LeafOptions, leaf, authority as makeAuthority } from '../../testing/support/openssl.ts';
import { temporaryDirectory } from '../cli/run-command.ts';

/** Later than any certificate that a test makes. */
const now = Math.floor(Date.now() / 1000) + 120;
const never = new AbortController().signal;

interface CsrOptions {
  readonly key?: readonly string[];
  readonly subject?: string;
  readonly extensions?: readonly string[];
}

const EC = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'];
const NAMES = ['subjectAltName=DNS:web.example,DNS:*.web.example'];

function csr(t: TestContext, { extensions = NAMES, key = EC, subject = '/' }: CsrOptions = {}): string {
  const directory = temporaryDirectory(t);
  const file = join(directory, 'tls.key');
  const words = ['req', '-new', '-newkey', ...key, '-nodes', '-keyout', file, '-subj', subject];
  return execFileSync('openssl', [...words, ...extensions.flatMap((one) => ['-addext', one])], {
    encoding: 'utf8',
    stdio: 'pipe',
  });
}

describe('a request', () => {
  test('gives its key and its DNS names', (t) => {
    for (const curve of ['P-256', 'P-384', 'P-521']) {
      const read = readCsr(
        csr(t, { key: ['ec', '-pkeyopt', `ec_paramgen_curve:${curve}`], subject: '/CN=web.example/O=left out' }),
      );
      assert.deepEqual(read.dnsNames, ['web.example', '*.web.example']);
      assert.equal(read.publicKey.asymmetricKeyType, 'ec');
    }
  });

  test('is refused with what to change in the Certificate', (t) => {
    for (const [options, message] of [
      [{ key: ['rsa:2048'] }, /set privateKey\.algorithm to ECDSA/],
      [{ key: ['ed25519'] }, /set privateKey\.algorithm to ECDSA/],
      [{ key: ['ec', '-pkeyopt', 'ec_paramgen_curve:secp256k1'] }, /set privateKey\.algorithm to ECDSA/],
      [{ extensions: [] }, /set dnsNames/],
      [{ extensions: ['subjectAltName=DNS:web.example,IP:10.0.0.1'] }, /no DNS name: only dnsNames/],
      [{ extensions: ['subjectAltName=email:a@example.com'] }, /no DNS name: only dnsNames/],
      [{ extensions: ['subjectAltName=DNS:Web.Example'] }, /DNS names in lower case/],
      [{ extensions: ['subjectAltName=DNS:*.*.example'] }, /DNS names in lower case/],
      [{ extensions: [...NAMES, 'basicConstraints=critical,CA:TRUE'] }, /isCA to false/],
      [{ subject: '/CN=other.example' }, /common name "other\.example" is not among/],
    ] as const) {
      assert.throws(() => readCsr(csr(t, options)), { code: 'CsrRefused', message }, String(message));
    }
    for (const text of ['', 'x', leaf().certificatePem, csr(t) + csr(t), 'A'.repeat(70_000)]) {
      assert.throws(() => readCsr(text), CsrError);
    }
  });

  test('whose bytes were changed is refused, and never crashes the reader', (t) => {
    const der = readPem(csr(t))[0]?.der ?? assert.fail();
    fc.assert(
      fc.property(fc.nat(der.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = Uint8Array.from(der);
        changed[at] = (changed[at] ?? 0) ^ change;
        assert.throws(() => readCsr(writePem('CERTIFICATE REQUEST', changed)), CsrError);
      }),
      { numRuns: 300 },
    );
  });
});

const issuer = { dnsNames: undefined, maxDurationSeconds: 90 * 86_400 };
const request = { isCA: false, usages: ['digital signature', 'server auth'], durationSeconds: undefined };
const authority = { notBefore: now - 86_400, notAfter: now + 365 * 86_400 };
const plan = (change: {
  readonly request?: object;
  readonly issuer?: object;
  readonly authority?: object;
  readonly dnsNames?: readonly string[];
}) =>
  planCertificate({
    dnsNames: change.dnsNames ?? ['web.example'],
    request: { ...request, ...change.request },
    issuer: { ...issuer, ...change.issuer },
    authority: { ...authority, ...change.authority },
    now,
  });

describe('an issuer', () => {
  test("gives the shortest of what is requested, what is allowed and what is left of the CA's lifetime", () => {
    assert.equal(plan({}).notAfter, now + 90 * 86_400);
    assert.equal(plan({ request: { durationSeconds: 86_400 } }).notAfter, now + 86_400);
    assert.equal(plan({ request: { durationSeconds: 999 * 86_400 } }).notAfter, now + 90 * 86_400);
    assert.equal(plan({ authority: { notAfter: now + 7_200 } }).notAfter, now + 7_200);
    assert.deepEqual(plan({ request: { usages: ['client auth'] } }).usages, ['Client']);
    assert.deepEqual(plan({ request: { usages: ['key encipherment'] } }).usages, ['Server']);
    assert.deepEqual(plan({ request: { usages: ['server auth', 'client auth'] } }).usages, ['Server', 'Client']);
  });

  test("never signs a CA, a CA's usages, or a name that its policy lacks", () => {
    for (const change of [
      { request: { isCA: true } },
      { request: { usages: ['cert sign'] } },
      { request: { usages: ['any'] } },
      { request: { durationSeconds: 60 } },
      { issuer: { dnsNames: ['*.web.example'] } },
      { issuer: { dnsNames: ['web.example'] }, dnsNames: ['web.example', 'evil.example'] },
    ]) {
      assert.throws(() => plan(change), { code: 'CsrRefused' }, JSON.stringify(change));
    }
  });

  test('allows the names that match a pattern, and no other', () => {
    for (const [pattern, name, allowed] of [
      ['web.example', 'web.example', true],
      ['web.example', 'a.web.example', false],
      ['web.example', 'xweb.example', false],
      ['*.web.example', 'a.web.example', true],
      ['*.web.example', '*.web.example', true],
      ['*.web.example', 'a.b.web.example', false],
      ['*.web.example', 'web.example', false],
      ['.web.example', 'a.b.web.example', true],
      ['.web.example', 'web.example', false],
      ['.web.example', 'evilweb.example', false],
    ] as const) {
      assert.equal(isAllowed(name, [pattern]), allowed, `${pattern} ${name}`);
    }
  });

  test('signs a certificate that dcred issues on, that OpenSSL verifies, and that holds no name that the request lacks', async (t) => {
    for (const subject of ['/CN=test CA', '/C=DE/O=Example/CN=other CA']) {
      const ca = makeAuthority(subject);
      const read = { ...readAuthority(ca.certificatePem, now), signer: signerFromPem(ca.keyPem) };
      const { dnsNames, publicKey } = readCsr(csr(t, { subject: '/CN=web.example/O=left out' }));
      const pem = await signLeaf({ authority: read, publicKey, dnsNames, plan: plan({ dnsNames }), signal: never });
      const made = readDelegationCertificate(pem);
      assert.deepEqual(made.dnsNames, ['web.example', '*.web.example']);
      assert.equal(made.subject, 'CN=web.example');
      assert.equal(new X509Certificate(pem).ca, false);
      const directory = temporaryDirectory(t);
      const [caFile, leafFile] = [join(directory, 'ca.crt'), join(directory, 'leaf.crt')];
      writeFileSync(caFile, ca.certificatePem);
      writeFileSync(leafFile, pem);
      const verified = execFileSync(
        'openssl',
        ['verify', '-x509_strict', '-purpose', 'sslserver', '-CAfile', caFile, leafFile],
        { encoding: 'utf8', stdio: 'pipe' },
      );
      assert.match(verified, /: OK/);
    }
  });

  test('does not sign with a certificate that is not a CA, is expired, or expires within the hour', () => {
    assert.throws(() => readAuthority(leaf().certificatePem, now), { message: /is not a CA/ });
    assert.throws(() => readAuthority(makeAuthority().certificatePem, now + 90 * 366 * 86_400), {
      message: /is expired/,
    });
    const pem = makeAuthority().certificatePem;
    const { notAfter } = readAuthority(pem, now).certificate;
    assert.ok(readAuthority(pem, notAfter - 3_600));
    assert.throws(() => readAuthority(pem, notAfter - 3_599), { message: /in its last hour: replace it/ });
    assert.throws(() => readAuthority('no PEM', now));
  });

  test('does not sign with a CA whose key is of another kind, and says of which', () => {
    const caWith = (options: LeafOptions) =>
      leaf({
        basicConstraints: 'critical,CA:TRUE',
        keyUsage: 'critical,keyCertSign',
        subject: '/CN=old CA',
        ...options,
      });
    const explicit = { options: ['-pkeyopt', 'ec_param_enc:explicit'] };
    for (const [ca, message] of [
      [caWith(explicit), /"CN=old CA" has a key of kind EC prime256v1 with explicit parameters; .*: re-encode/],
      [caWith({ key: 'RSA' }), /"CN=old CA" has a key of kind RSA 2048; .* ECDSA .*: use a CA with such a key/],
      [caWith({ key: 'Ed25519' }), /has a key of kind Ed25519; dcred issuer signs with ECDSA/],
    ] as const) {
      assert.throws(() => readAuthority(ca.certificatePem, now), { message });
    }
  });
});

describe('a CertificateRequest', () => {
  const condition = (type: string, status = 'True', reason = type) =>
    ({ type, status, reason, message: '', lastTransitionTime: '' }) as never;

  test('moves by the rules of cert-manager', () => {
    for (const [conditions, expected] of [
      [[], 'waiting'],
      [[condition('Approved')], 'approved'],
      [[condition('Approved', 'False')], 'waiting'],
      [[condition('Denied')], 'denied'],
      [[condition('Denied'), condition('Approved')], 'denied'],
      [[condition('Approved'), condition('Ready', 'False', 'Pending')], 'approved'],
      [[condition('Approved'), condition('Ready', 'False', 'Failed')], 'finished'],
      [[condition('Denied'), condition('Ready', 'False', 'Denied')], 'finished'],
      [[condition('Approved'), condition('Ready', 'True', 'Issued')], 'finished'],
    ] as const) {
      assert.equal(stageOf({ conditions, hasCertificate: false }), expected, JSON.stringify(conditions));
    }
    assert.equal(stageOf({ conditions: [condition('Approved')], hasCertificate: true }), 'finished');
  });

  test('of another group is ignored', () => {
    const raw = (issuerRef: object) => ({ metadata: { namespace: 'a', name: 'b' }, spec: { issuerRef, request: '' } });
    for (const other of [
      { name: 'x', kind: 'Issuer' },
      { group: 'cert-manager.io', name: 'x' },
      { group: 'dcred.dev.example', name: 'x' },
    ]) {
      assert.equal(readCertificateRequest(raw(other), 'dcred.dev'), undefined);
    }
    assert.equal(
      readCertificateRequest(raw({ group: 'dcred.dev', kind: 'DelegationIssuer', name: 'x' }), 'dcred.dev')?.issuer
        .name,
      'x',
    );
  });

  test("keeps other clients' conditions, and the time of a failure", () => {
    const failed = { reason: 'Failed', message: 'why' } as const;
    const status = statusFor([condition('Approved')], failed, now) as {
      conditions: readonly { type: string }[];
      failureTime?: string;
    };
    assert.deepEqual(
      status.conditions.map(({ type }) => type),
      ['Approved', 'Ready'],
    );
    assert.ok(status.failureTime);
    assert.equal(statusFor(status.conditions as never, failed, now + 60), undefined);
    assert.equal('failureTime' in (statusFor([], { reason: 'Pending', message: '' }, now) ?? {}), false);
  });

  test('has its duration in the format of Go', () => {
    for (const [text, seconds] of [
      ['2160h0m0s', 7_776_000],
      ['1h', 3_600],
      ['90m', 5_400],
      ['1.5s', 1],
      ['', undefined],
      ['1d', undefined],
      ['-1h', undefined],
      ['h', undefined],
    ] as const) {
      assert.equal(parseGoDuration(text), seconds, text);
    }
  });

  test('whose duration is shorter than an hour, or none, is refused: it never gets the longest that is allowed', () => {
    const issuerRef = { group: 'dcred.dev', kind: 'DelegationIssuer', name: 'x' };
    const terms = (duration?: string) =>
      readCertificateRequest({ metadata: {}, spec: { issuerRef, duration } } as never, 'dcred.dev')?.terms;
    for (const duration of ['59m59s', '500ms', '-2160h0m0s', '1.5µs', '1d', '']) {
      assert.throws(() => plan({ request: { ...terms(duration) } }), { code: 'CsrRefused', message: /1h or longer/ });
    }
    assert.equal(plan({ request: { ...terms('24h') } }).notAfter, now + 86_400);
    assert.equal(plan({ request: { ...terms() } }).notAfter, now + 90 * 86_400);
  });
});
