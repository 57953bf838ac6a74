import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type GrantedUse, MAX_USES } from '../../src/signer/protocol.ts';
import { SignerUnavailableError } from '../../src/signer-client/errors.ts';
import { WithdrawalProofs } from '../../src/signer-client/withdrawal-proofs.ts';
import { settle } from '../../testing/support/fake-clock.ts';

/** A fake signer, whose answers the test gives. */
class Signer {
  readonly calls: {
    readonly uses: readonly GrantedUse[];
    readonly answer: PromiseWithResolvers<readonly boolean[]>;
  }[] = [];
  readonly proofs = new WithdrawalProofs({
    client: {
      server: 'https://signer',
      withdrawn: async (uses) => {
        const answer = Promise.withResolvers<readonly boolean[]>();
        this.calls.push({ uses, answer });
        return await answer.promise;
      },
    },
    signal: new AbortController().signal,
  });
}

const use = (namespace: string): GrantedUse => ({
  certificate: 'vault/web-tls',
  usage: 'Server',
  namespace,
  leafSha256: 'a'.repeat(64),
});

test('an answer is newer than its question, and shared by all callers before it', async () => {
  const { calls, proofs } = new Signer();
  const early = proofs.ask(use('edge'));
  const late = [proofs.ask(use('edge')), proofs.ask(use('edge')), proofs.ask(use('shop'))];
  assert.deepEqual(
    calls.map(({ uses }) => uses.length),
    [1],
  );
  calls[0]?.answer.resolve([true]);
  assert.equal(await early, true);
  await settle();
  assert.deepEqual(
    calls[1]?.uses.map(({ namespace }) => namespace),
    ['edge', 'shop'],
  );
  calls[1]?.answer.resolve([false, true]);
  assert.deepEqual(await Promise.all(late), [false, false, true]);
});

test('no answer proves nothing', async () => {
  const { calls, proofs } = new Signer();
  const asked = proofs.ask(use('edge'));
  calls[0]?.answer.reject(new Error('reset'));
  await assert.rejects(asked, SignerUnavailableError);
  const again = proofs.ask(use('edge'));
  await settle();
  calls[1]?.answer.resolve([true]);
  assert.equal(await again, true);
});

test('no call is larger than the signer takes', async () => {
  const { calls, proofs } = new Signer();
  const all = Array.from({ length: 2 * MAX_USES }, (_, position) => proofs.ask(use(`edge-${position}`)));
  for (let call = 0; call < 3; call += 1) {
    await settle();
    const { answer, uses } = calls[call] ?? assert.fail('no call');
    assert.ok(uses.length <= MAX_USES);
    answer.resolve(uses.map(() => true));
  }
  assert.deepEqual(new Set(await Promise.all(all)), new Set([true]));
});
