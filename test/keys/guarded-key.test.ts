import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto';
import { test } from 'node:test';
import { schemeBySubjectPublicKeyInfo } from '../../src/credential/scheme.ts';
import { GuardedKey } from '../../src/keys/guarded-key.ts';
import type { RemoteKey } from '../../src/keys/remote-key.ts';
import { FakeClock, settle } from '../../testing/support/fake-clock.ts';

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const scheme = schemeBySubjectPublicKeyInfo(publicKey.export({ format: 'der', type: 'spki' })) ?? assert.fail();

/** A fake of a key elsewhere, which signs when the test lets it and fails once it is closed. */
function start() {
  const log: string[] = [];
  const pending: (() => void)[] = [];
  const key: RemoteKey = {
    scheme,
    publicKey: createPublicKey(privateKey),
    connection: 1,
    sign: async (message) => {
      await new Promise<void>((resolve) => pending.push(resolve));
      log.push('signed');
      return sign('sha256', message, privateKey);
    },
    close: async () => void log.push('closed'),
  };
  const answerAll = async (): Promise<void> => {
    for (await settle(); pending.length > 0; await settle()) for (const one of pending.splice(0)) one();
  };
  const options = { name: 'a key', certificate: undefined, random: () => 0, observe: () => {} };
  return { answerAll, log, guarded: new GuardedKey({ key, clock: new FakeClock(), ...options }) };
}

test('a key that is replaced signs what is in progress before it is closed, and nothing afterwards', async () => {
  const { answerAll, guarded, log } = start();
  const signing = Promise.all(['one', 'two', 'three'].map((text) => guarded.sign(Buffer.from(text))));
  await settle();
  const closed = guarded.close();
  await assert.rejects(guarded.sign(Buffer.from('late')), { code: 'KeyUnavailable', message: 'a key is closed' });
  await answerAll();
  assert.equal((await signing).length, 3);
  await closed;
  // The first signature proves that the key is the certificate's.
  assert.deepEqual(log, ['signed', 'signed', 'signed', 'signed', 'closed']);
});

test('a caller that gives up does not wait for the proof that another makes', async () => {
  const { answerAll, guarded } = start();
  const first = guarded.sign(Buffer.from('one'));
  const stop = new AbortController();
  const second = guarded.sign(Buffer.from('two'), { signal: stop.signal });
  await settle();
  stop.abort(new Error('given up'));
  await assert.rejects(second, /given up/);
  await answerAll();
  await first;
  await guarded.close();
});
