/** A signer whose packets are dropped: no refusal, no reset, only silence. Real connections; time passes only on the client's fake clock. */

import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { SignRequest } from '../../src/signer/protocol.ts';
import { SignerClient } from '../../src/signer-client/signer-client.ts';
import { signerConnection } from '../../src/signer-client/signer-connection.ts';
import { SigningBatcher } from '../../src/signer-client/signing-batcher.ts';
import { Cable } from '../../testing/support/cable.ts';
import { FakeClock, settle } from '../../testing/support/fake-clock.ts';
import { eventually } from '../../testing/support/processes.ts';
import { temporaryDirectory } from '../cli/run-command.ts';
import { ask, EU, serving, start } from '../signer/running-signer.ts';

interface World {
  readonly cable: Cable;
  readonly clock: FakeClock;
  readonly client: SignerClient;
  /** Resolves once the cable has swallowed the call's request. */
  readonly swallowed: <T>(call: Promise<T>) => Promise<{ readonly call: Promise<T> }>;
}

const { signal } = new AbortController();
const inSeconds = (clock: FakeClock, seconds: number): SignRequest =>
  ask({ expiresAt: Math.floor(clock.now() / 1000) + seconds });

async function build(t: TestContext): Promise<World> {
  const { port } = await start(t);
  const cable = await Cable.to(port);
  t.after(() => cable[Symbol.asyncDispose]());
  const folder = temporaryDirectory(t);
  const file = (name: string, content = '') => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const clock = new FakeClock(Date.now());
  const connection = await signerConnection({
    url: `https://localhost:${cable.port}`,
    caFile: file('ca.crt', serving.authority),
    certFile: file('eu.crt', EU.cert),
    keyFile: file('eu.key', EU.key),
    clock,
  });
  const client = new SignerClient({ connection, userAgent: 'test', clock });
  t.after(() => client.close());
  const swallowed = async <T>(call: Promise<T>) => {
    call.catch(() => {});
    const before = cable.swallowed;
    await eventually('the request to be swallowed', async () => cable.swallowed > before || undefined);
    return { call };
  };
  return { cable, clock, client, swallowed };
}

test('a call into silence ends at its deadline, and the next one uses no dead connection', async (t) => {
  const { cable, client, clock, swallowed } = await build(t);
  // Several connections, which the pool keeps for the next calls.
  const calls = [1, 2, 3].map(() => client.sign([inSeconds(clock, 3_600)], signal));
  for (const [result] of await Promise.all(calls)) assert.equal(result?.ok, true);
  cable.silence();
  const { call } = await swallowed(client.sign([inSeconds(clock, 3_600)], signal));
  clock.advance(35_000);
  await assert.rejects(call, { reason: 'Timeout' });
  cable.repair();
  const [again] = await client.sign([inSeconds(clock, 3_600)], signal);
  assert.equal(again?.ok, true);
});

test('the shorter the shortest lifetime in a call, the sooner it ends, to leave time for another attempt', async (t) => {
  const { cable, client, clock, swallowed } = await build(t);
  for (const [life, ms] of [
    [60, 6_000],
    [200, 20_000],
    [7_000, 35_000],
  ] as const) {
    cable.silence();
    const requests = [inSeconds(clock, 7_200), inSeconds(clock, life)];
    const { call } = await swallowed(client.sign(requests, signal));
    let ended = false;
    void call.catch(() => {
      ended = true;
    });
    // The deadline is a tenth of the lifetime, which is rounded down to a second.
    clock.advance(ms - 200);
    await settle();
    assert.equal(ended, false, `${life} s`);
    clock.advance(200);
    await assert.rejects(call, { reason: 'Timeout' });
  }
});

test('no caller is left waiting, however long it lasts, and everything works within seconds of its end', async (t) => {
  const { cable, client, clock, swallowed } = await build(t);
  const stop = new AbortController();
  t.after(() => stop.abort());
  const batcher = new SigningBatcher({ client, clock, random: () => 0, signal: stop.signal });
  const sign = () =>
    batcher.sign(inSeconds(clock, 60), stop.signal).then(
      ({ ok }) => (ok ? 'signed' : 'refused'),
      ({ code }: { code: string }) => code,
    );
  assert.equal(await sign(), 'signed');
  clock.advance(100);
  cable.silence();
  // Ten minutes of it: each attempt fails at its deadline, and calls in between fail at once.
  for (let tries = 0; tries < 60; tries += 1) {
    const { call } = await swallowed(sign());
    const behind = sign();
    clock.advance(6_000);
    assert.equal(await call, 'SignerUnavailable');
    assert.equal(await behind, 'SignerUnavailable');
    assert.equal(await sign(), 'SignerUnavailable', 'it fails at once');
    clock.advance(5_000);
  }
  cable.repair();
  assert.equal(await sign(), 'signed', 'the longest that anybody waits is five seconds');
});
