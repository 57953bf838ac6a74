/** Which of the trusted CAs a probe reads: none that could matter is left out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readCertificateChain } from '../../src/credential/certificate.ts';
import { findTrustPath } from '../../src/credential/trust-path.ts';
import { rootsOf } from '../../src/probe/roots.ts';
import { authority, leaf } from '../../testing/support/openssl.ts';

const issuer = authority('/O=Orchard/CN=issuer');
const namesake = authority('/O=Orchard/CN=issuer');
const others = [authority('/CN=another'), authority('/O=Orchard/CN=issue')];
const served = readCertificateChain(leaf({ issuer }).certificatePem);
const hashes = (pems: readonly string[]) => pems.map((pem) => readCertificateChain(pem)[0].sha256);

test('only roots with the name of an issuer are read', () => {
  const store = [...others, issuer, namesake].map(({ certificatePem }) => certificatePem);
  const roots = rootsOf(() => store);
  assert.deepEqual(
    roots.named(served).map(({ sha256 }) => sha256),
    hashes([issuer.certificatePem, namesake.certificatePem]),
  );
  assert.deepEqual(
    roots.all().map(({ sha256 }) => sha256),
    hashes(store),
  );
  // Read after the certificates were made: they are valid from that second on.
  const now = Math.floor(Date.now() / 1000);
  assert.equal(findTrustPath(served[0], [], roots.named(served), now)?.length, 2);
});

test('a root that the server serves itself is found by its own name', () => {
  const [root] = readCertificateChain(issuer.certificatePem);
  const roots = rootsOf(() => [issuer.certificatePem]);
  assert.deepEqual(
    roots.named([root]).map(({ sha256 }) => sha256),
    [root.sha256],
  );
});

test('a root that cannot be read is left out', () => {
  const damaged = issuer.certificatePem.replace('\n', '\n!');
  const roots = rootsOf(() => [damaged, 'nothing', issuer.certificatePem]);
  assert.equal(roots.all().length, 1);
  assert.equal(roots.named(served).length, 1);
});
