import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { expiring, nextCertificate, warnsAt } from '../../../src/operator/core/certificate-conditions.ts';
import { readCertificateSecret } from '../../../src/operator/core/certificate-state.ts';
import { leaf } from '../../../testing/support/openssl.ts';

const DAY = 86_400;
const signal = new AbortController().signal;

describe('a certificate that expires', () => {
  test('is reported three lifetimes before it expires, and at least a week before', () => {
    const year = { notBefore: 0, notAfter: 365 * DAY };
    assert.equal(warnsAt(year, 2 * DAY), 358 * DAY);
    assert.equal(warnsAt(year, 6 * DAY), 347 * DAY);
    assert.equal(expiring(year, 2 * DAY, 358 * DAY - 1), undefined);
    const report = expiring(year, 2 * DAY, 358 * DAY);
    assert.equal(report?.status, 'True');
    assert.match(report.message, /expires at 1971-01-01T00:00:00Z.*renew the certificate/);
  });

  test('is not reported in the first two thirds of its life, however short that is', () => {
    fc.assert(
      fc.property(fc.integer({ min: 60, max: 400 * DAY }), fc.integer({ min: 60, max: 601_200 }), (life, lifetime) => {
        const moment = warnsAt({ notBefore: 0, notAfter: life }, lifetime);
        assert.ok(moment >= (2 * life) / 3 - 1 && moment < life);
        // A certificate that is renewed at once leaves every credential its full lifetime, where the certificate's life has room for that.
        if (life > 9 * lifetime && life > 21 * DAY) assert.ok(life - moment >= 3 * lifetime);
      }),
    );
  });
});

describe('a certificate that is announced beforehand', () => {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const current = leaf();
  const other = leaf();

  async function report(next: Readonly<Record<string, string>>, usage: 'Server' | 'Client' = 'Server') {
    const data = { 'tls.crt': current.certificatePem, 'tls.key': current.keyPem, ...next };
    const encoded = Object.fromEntries(Object.entries(data).map(([key, text]) => [key, base64(text)]));
    const state = await readCertificateSecret({ metadata: {}, data: encoded }, 'web-tls', signal);
    assert.equal(state.kind, 'usable', 'the current one is used, whatever is announced');
    return nextCertificate(state, usage);
  }

  test('is not reported where there is none, or it is the current one', async () => {
    assert.equal(await report({}), undefined);
    assert.equal(await report({ 'tls.next.crt': current.certificatePem }), undefined);
  });

  test('fits with its own key', async () => {
    const found = await report({ 'tls.next.crt': other.certificatePem, 'tls.next.key': other.keyPem });
    assert.equal(found?.status, 'True');
    assert.match(found.message, /fits: put it into tls\.crt between/);
  });

  const unfit: Readonly<Record<string, readonly [() => Readonly<Record<string, string>>, RegExp]>> = {
    'of another key than the current one, without that key': [
      () => ({ 'tls.next.crt': other.certificatePem }),
      /CertificateInvalid.*key does not belong/,
    ],
    'that cannot delegate': [
      () => {
        const one = leaf({ delegationUsage: null });
        return { 'tls.next.crt': one.certificatePem, 'tls.next.key': one.keyPem };
      },
      /CertificateCannotDelegate/,
    ],
    'that is no certificate': [() => ({ 'tls.next.crt': 'garbage' }), /CertificateInvalid/],
    'that is for clients only': [
      () => {
        const one = leaf({ extensions: ['extendedKeyUsage=clientAuth'] });
        return { 'tls.next.crt': one.certificatePem, 'tls.next.key': one.keyPem };
      },
      /CertificateCannotDelegate.*clientAuth only/,
    ],
  };
  for (const [what, [next, says]] of Object.entries(unfit)) {
    test(`${what} does not fit`, async () => {
      const found = await report(next());
      assert.equal(found?.status, 'False');
      assert.match(`${found.reason} ${found.message}`, says);
    });
  }

  test('in another encoding of the same leaf is the same', async () => {
    assert.equal(await report({ 'tls.next.crt': `${current.certificatePem}\n` }), undefined);
  });
});
