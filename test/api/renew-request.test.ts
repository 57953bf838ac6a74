import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { statusSchema } from '../../src/api/delegated-credential.ts';
import { readDelegatedCredential } from '../../src/api/read.ts';
import { formatRenewRequest, readRenewRequest } from '../../src/api/renew-request.ts';
import { requestedRenewal } from '../../src/operator/core/plan.ts';
import { formatRfc3339 } from '../../src/text/rfc3339.ts';

const resource = (annotations?: Readonly<Record<string, string>>) =>
  readDelegatedCredential({
    metadata: { name: 'web', namespace: 'edge', uid: '1', resourceVersion: '1', ...(annotations && { annotations }) },
    spec: { certificateRef: { name: 'web-tls' } },
  });

test('a time is read back as it was written', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4_000_000_000_000 }), (milliseconds) => {
      assert.equal(Math.round(readRenewRequest(formatRenewRequest(milliseconds / 1000)) * 1000), milliseconds);
    }),
  );
});

test('a time written by hand is read, with any offset', () => {
  assert.equal(readRenewRequest('2027-01-15T08:00:00Z'), 1_800_000_000);
  assert.equal(readRenewRequest('2027-01-15t09:00:00.5+01:00'), 1_800_000_000.5);
});

for (const text of ['', 'now', 'true', '1800000000', '2027-01-15', '2027-01-15 08:00:00', '2027-13-01T00:00:00Z']) {
  test(`"${text}" is not a time`, () => assert.ok(Number.isNaN(readRenewRequest(text))));
}

test('a resource carries its request, and no other annotation', () => {
  const { metadata } = resource({ 'dcred.dev/renew-requested-at': '2027-01-15T08:00:00Z', note: 'x'.repeat(1000) });
  assert.equal(metadata.renewRequestedAt, 1_800_000_000);
  assert.ok(!JSON.stringify(metadata).includes('note'));
});

test('a resource without a request has none', () => {
  assert.ok(!Object.hasOwn(resource().metadata, 'renewRequestedAt'));
  assert.ok(!Object.hasOwn(resource({ note: 'x' }).metadata, 'renewRequestedAt'));
});

test('a resource whose request is not a time is still served', () => {
  const read = resource({ 'dcred.dev/renew-requested-at': 'now' });
  assert.ok('spec' in read);
  assert.ok(Number.isNaN(read.metadata.renewRequestedAt));
});

test('a request at any time leads to a time that a status may hold', () => {
  const year = fc.constantFrom('0000', '1969', '2027', '9999');
  const moment = fc.constantFrom('-01-01T00:00:00', '-12-31T23:59:59', '-12-31T23:59:59.5');
  const offset = fc.constantFrom('Z', '+00:00', '-23:59', '+23:59');
  fc.assert(
    fc.property(year, moment, offset, (...parts) => {
      const text = parts.join('');
      const requested = readRenewRequest(text);
      const renewal = Number.isNaN(requested) ? undefined : requestedRenewal({ issuedAt: -1e12 }, requested);
      if (renewal === undefined) return;
      const status = { nextRenewalTime: formatRfc3339(renewal) };
      assert.equal(statusSchema.safeParse(status).success, true, `${text} is ${status.nextRenewalTime}`);
    }),
  );
});
