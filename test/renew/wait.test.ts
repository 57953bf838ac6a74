import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitForRenewal } from '../../src/renew/wait.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';
import { FakeApiServer, silence } from '../kubernetes/clients.ts';

const targets = [{ namespace: 'edge', name: 'web', suspended: false }];
const TIMEOUT_MS = 1_000;

function waiting(fake: FakeApiServer, clock: FakeClock, signal: AbortSignal) {
  const options = { client: fake.client({ clock }), clock, random: () => 0.5, targets, moment: 0 };
  return waitForRenewal({ ...options, timeoutMs: TIMEOUT_MS, onProgress: () => {} }, signal);
}

test('Secrets that nobody has listed at the end of the time are not taken for none', async () => {
  await using fake = await FakeApiServer.start(silence);
  const clock = new FakeClock();
  const waited = waiting(fake, clock, new AbortController().signal);
  const refused = assert.rejects(waited, { code: 'RenewalUnknown', message: /requested nevertheless/ });
  await clock.advanceAsync(TIMEOUT_MS);
  await refused;
});

test('nor are they when the command is interrupted', async () => {
  await using fake = await FakeApiServer.start(silence);
  const stop = new AbortController();
  const waited = waiting(fake, new FakeClock(), stop.signal);
  stop.abort();
  await assert.rejects(waited, { name: 'AbortError' });
});
