/** What an operator believes of a signer while credentials that it signed wait to be written. The signer is a fake. */

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { DelegatedCredentialSpec } from '../../../src/api/delegated-credential.ts';
import {
  SignerCertificates,
  type SignerCertificatesOptions,
} from '../../../src/operator/certificates/signer-certificates.ts';
import type { CertificateNews, GrantedUsage } from '../../../src/signer/protocol.ts';
import { SignerHealth } from '../../../src/signer-client/health.ts';
import { FakeClock, settle } from '../../../testing/support/fake-clock.ts';
import { leaf } from '../../../testing/support/openssl.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';

const { certificatePem: chainPem } = leaf();
const spec: DelegatedCredentialSpec = {
  certificateRef: { namespace: 'vault', name: 'web-tls' },
  usage: 'Server',
  keyAlgorithm: 'ECDSAP256',
  lifetimeSeconds: 3_600,
  suspend: false,
};
const resource = { metadata: { namespace: 'edge' }, spec };
const GRANTED: GrantedUsage = { usage: 'Server', maxLifetimeSeconds: 7_200, onWithdraw: 'Keep' };

/** What resource edge/web follows, at a signer that answers when the test says so. */
function following(t: TestContext, options: Partial<SignerCertificatesOptions> = {}) {
  const stop = new AbortController();
  t.after(() => stop.abort());
  let answer: (news: readonly CertificateNews[]) => void = () => {};
  const certificates = new SignerCertificates({
    client: {
      server: 'https://signer.test',
      now: () => 0,
      follow: () => new Promise((resolve) => (answer = resolve)),
      withdrawn: async () => [],
    },
    batcher: { sign: () => assert.fail('nothing is signed here') },
    health: { answered: () => {}, failed: () => {}, unused: () => {}, problem: undefined },
    clock: new FakeClock(),
    random: () => 0,
    log: recordingLogger(),
    onChange: () => {},
    signal: stop.signal,
    ...options,
  });
  certificates.follow('edge/web', resource);
  const tell = async (news: readonly CertificateNews[]) => {
    answer(news);
    await settle();
  };
  return { certificates, tell };
}

const NEWS = { certificate: 'vault/web-tls', namespace: 'edge' };

for (const [what, usages, holds] of [
  ['is not published once the signer has withdrawn the grant', undefined, false],
  ['is not published once the grant allows a shorter lifetime', [{ ...GRANTED, maxLifetimeSeconds: 600 }], false],
  ['is not published once the grant allows fewer pods', [{ ...GRANTED, maxPods: 1 }], false],
  ['is not published without the mark that a withdrawal deletes it', [{ ...GRANTED, onWithdraw: 'Delete' }], false],
  ['is not published once the grant is for another usage', [{ ...GRANTED, usage: 'Client' }], false],
  ['is published where its terms stay as they were', [{ ...GRANTED, maxLifetimeSeconds: 5_000 }], true],
] as const satisfies readonly (readonly [string, readonly GrantedUsage[] | undefined, boolean])[]) {
  test(`a credential that waits ${what}`, async (t) => {
    const { certificates, tell } = following(t);
    const learn = (version: string, granted: readonly GrantedUsage[] | undefined) =>
      tell([{ ...NEWS, version, ...(granted && { granted: { chainPem, usages: granted } }) }]);
    await learn('1', [GRANTED]);
    const access = certificates.access(resource);
    assert.ok(access.kind === 'granted');
    await certificates.holds(access, resource);
    await learn('2', usages);
    const held = certificates.holds(access, resource);
    if (holds) await held;
    else await assert.rejects(held, { code: 'StaleCache' });
  });
}

test('a signer that nothing is asked of any more is not called silent', async (t) => {
  const clock = new FakeClock();
  const problems: (string | undefined)[] = [];
  const { certificates } = following(t, {
    client: {
      server: 'https://signer.test',
      now: () => 0,
      follow: () => Promise.reject(new Error('ECONNREFUSED')),
      withdrawn: async () => [],
    },
    health: new SignerHealth({ clock, onChange: (problem) => problems.push(problem) }),
    clock,
  });
  await clock.advanceAsync(10_000);
  assert.match(problems.at(-1) ?? '', /does not answer/);
  certificates.follow('edge/web', undefined);
  await clock.advanceAsync(10_000);
  await certificates.ended();
  assert.equal(problems.length, 2);
  assert.equal(problems.at(-1), undefined);
});

test('a signer that answers, and says nothing of a certificate, is named with what to look at', async (t) => {
  const changed: string[] = [];
  const { certificates, tell } = following(t, { onChange: (key) => changed.push(key) });
  assert.deepEqual(certificates.resolve(resource), { kind: 'pending' }, 'it was not asked yet');
  for (let answer = 0; answer < 3; answer += 1) {
    await tell([]);
    const state = certificates.resolve(resource);
    assert.ok(state.kind === 'pending' && state.reason === 'SignerUnavailable');
    assert.match(state.message ?? '', /https:\/\/signer\.test has no answer about certificate "vault\/web-tls" yet/);
    assert.deepEqual(changed, ['edge/web'], 'once');
  }
  const granted = { chainPem, usages: [GRANTED] };
  await tell([{ ...NEWS, version: '1', granted }]);
  assert.equal(certificates.resolve(resource).kind, 'usable');
  assert.deepEqual(changed, ['edge/web', 'edge/web']);
});
