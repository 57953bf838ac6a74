import assert from 'node:assert/strict';
import { sign } from 'node:crypto';
import { test } from 'node:test';
import { type Certificate, readCertificateChain } from '../../src/credential/certificate.ts';
import { readElement, readElements, TAG } from '../../src/credential/der.ts';
import { findTrustPath } from '../../src/credential/trust-path.ts';
import { bitString, sequence } from '../../src/provision/der-write.ts';
import { authority, type Leaf, type LeafOptions, leaf } from '../../testing/support/openssl.ts';

const read = (made: Leaf): Certificate => readCertificateChain(made.certificatePem)[0];
const subordinate = (issuer: Leaf, options: LeafOptions = {}) =>
  leaf({
    basicConstraints: 'critical,CA:TRUE',
    keyUsage: 'critical,keyCertSign',
    subject: '/CN=intermediate',
    issuer,
    ...options,
  });

const root = authority('/CN=root');
const intermediate = subordinate(root);
const web = leaf({ issuer: intermediate });
const now = read(web).notBefore + 60;

const names = (path: readonly Certificate[] | undefined) => path?.map(({ subject }) => subject);

test('a leaf leads to its root over the intermediate that comes with it', () => {
  assert.deepEqual(names(findTrustPath(read(web), [read(intermediate)], [read(root)], now)), [
    'CN=web.example',
    'CN=intermediate',
    'CN=root',
  ]);
});

test('without the intermediate there is no path', () => {
  assert.equal(findTrustPath(read(web), [], [read(root)], now), undefined);
});

test('an intermediate may itself be what is trusted', () => {
  assert.deepEqual(names(findTrustPath(read(web), [], [read(intermediate)], now)), [
    'CN=web.example',
    'CN=intermediate',
  ]);
});

test('intermediates in any order, repeated or unrelated, do no harm', () => {
  const others = [read(authority('/CN=intermediate')), read(web), read(intermediate), read(intermediate), read(root)];
  assert.equal(findTrustPath(read(web), others, [read(root)], now)?.length, 3);
});

test('a root of the same name and another key is not trusted', () => {
  assert.equal(findTrustPath(read(web), [read(intermediate)], [read(authority('/CN=root'))], now), undefined);
});

test('a certificate that is no CA issues nothing', () => {
  const impostor = leaf({ subject: '/CN=impostor', issuer: root });
  const victim = leaf({ issuer: impostor });
  assert.equal(findTrustPath(read(victim), [read(impostor)], [read(root)], now), undefined);
});

/** The same certificate without extensions, for version 1 without its version too; signed by `issuer`. */
function stripped(made: Leaf, issuer: Leaf, version: 1 | 3): Certificate {
  const [tbs, algorithm] = readElements(readElement(read(made).der, TAG.sequence).content);
  const kept = readElements(tbs?.content ?? new Uint8Array()).filter(
    ({ tag }) => tag !== TAG.extensions && (version === 3 || tag !== TAG.version),
  );
  const signed = sequence(...kept.map(({ encoded }) => encoded));
  const signature = sign('sha256', signed, issuer.keyPem);
  const der = Buffer.from(sequence(signed, algorithm?.encoded ?? new Uint8Array(), bitString(signature)));
  const certificatePem = `-----BEGIN CERTIFICATE-----\n${der.toString('base64')}\n-----END CERTIFICATE-----\n`;
  return read({ ...made, certificatePem });
}

test('a root of version 1, which has no extensions, is a CA where it is trusted', () => {
  const old = stripped(root, root, 1);
  assert.deepEqual(names(findTrustPath(read(web), [read(intermediate)], [old], now)), [
    'CN=web.example',
    'CN=intermediate',
    'CN=root',
  ]);
});

test('a certificate of version 1 is no CA where it is an intermediate, or another one issued it', () => {
  const between = stripped(intermediate, root, 1);
  assert.equal(findTrustPath(read(web), [between], [read(root)], now), undefined);
  assert.equal(findTrustPath(read(web), [], [between], now), undefined);
  const old = stripped(root, root, 1);
  assert.equal(findTrustPath(read(web), [read(intermediate), old], [read(authority('/CN=root'))], now), undefined);
});

test('a root of version 3 that does not say that it is a CA is none', () => {
  assert.equal(findTrustPath(read(web), [read(intermediate)], [stripped(root, root, 3)], now), undefined);
});

test('every certificate of the path must be valid then', () => {
  const short = subordinate(root, { days: 1 });
  const made = leaf({ issuer: short });
  const find = (at: number) => findTrustPath(read(made), [read(short)], [read(root)], at);
  assert.equal(find(read(made).notBefore + 60)?.length, 3);
  assert.equal(find(read(made).notBefore + 2 * 86_400), undefined);
});

test('a self-signed leaf is trusted where it is itself in the CA file', () => {
  const own = leaf();
  assert.equal(findTrustPath(read(own), [], [read(own)], read(own).notBefore)?.length, 1);
});

test('a chain of certificates that all signed each other is followed in no more than their pairs', () => {
  // Every one has the same name and key, so each is an issuer of all: a search that tried each way would not end.
  const ca = authority();
  const [root] = readCertificateChain(ca.certificatePem);
  const same = Array.from({ length: 31 }, (_, index): Certificate => ({ ...root, sha256: `${index}` }));
  const stranger = readCertificateChain(authority('/CN=stranger').certificatePem);
  const [leafCertificate] = readCertificateChain(leaf({ issuer: ca }).certificatePem);
  assert.equal(findTrustPath(leafCertificate, same, stranger, leafCertificate.notBefore), undefined);
});
