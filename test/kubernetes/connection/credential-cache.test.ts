import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ConnectionCredentials } from '../../../src/kubernetes/connection/connection.ts';
import { CredentialCache } from '../../../src/kubernetes/connection/credential-cache.ts';
import { FakeClock, settle } from '../../../testing/support/fake-clock.ts';

function credentials(token: string, ca = 'ca'): ConnectionCredentials {
  return { headers: { authorization: `Bearer ${token}` }, tls: { ca: Buffer.from(ca) } };
}

/** A cache over a source that the test sets; errors are thrown. */
function cacheOf(first: ConnectionCredentials) {
  const clock = new FakeClock();
  const source: { current: ConnectionCredentials | Error; loads: boolean[] } = { current: first, loads: [] };
  const load = async ({ rejected }: { readonly rejected: boolean }): Promise<ConnectionCredentials> => {
    source.loads.push(rejected);
    if (source.current instanceof Error) throw source.current;
    return structuredClone(source.current);
  };
  return { clock, source, cache: new CredentialCache(load, clock) };
}

describe('CredentialCache', () => {
  test('loads once for all concurrent callers, and for ten seconds', async () => {
    const { clock, source, cache } = cacheOf(credentials('a'));
    const all = await Promise.all(Array.from({ length: 50 }, () => cache.get()));
    assert.equal(new Set(all).size, 1);
    clock.advance(9_999);
    await cache.get();
    assert.equal(source.loads.length, 1);
    clock.advance(1);
    assert.equal(await cache.get(), all[0]);
    await settle();
    assert.equal(await cache.get(), all[0], 'the same again is the same object');
    assert.equal(source.loads.length, 2);
  });

  test('a new token keeps the TLS settings, and with them the connections', async () => {
    const { clock, source, cache } = cacheOf(credentials('a'));
    const before = await cache.get();
    source.current = credentials('b');
    clock.advance(10_000);
    assert.equal(await cache.get(), before, 'no caller waits while there are credentials to use');
    await settle();
    const after = await cache.get();
    assert.equal(after.headers['authorization'], 'Bearer b');
    assert.equal(after.tls, before.tls);
    source.current = credentials('b', 'another ca');
    clock.advance(10_000);
    await cache.get();
    await settle();
    assert.notEqual((await cache.get()).tls, before.tls);
  });

  test('refused credentials are loaded again once, however many calls they were refused for', async () => {
    const { source, cache } = cacheOf(credentials('a'));
    const refused = await cache.get();
    source.current = credentials('b');
    const fresh = await Promise.all(Array.from({ length: 10 }, () => cache.get(refused)));
    assert.equal(new Set(fresh).size, 1);
    assert.equal(await cache.get(refused), fresh[0], 'a late caller gets what was loaded already');
    assert.deepEqual(source.loads, [false, true]);
  });

  test('a source that fails does not matter while there are credentials to use', async () => {
    const { clock, source, cache } = cacheOf(credentials('a'));
    const before = await cache.get();
    source.current = new Error('gone');
    clock.advance(10_000);
    assert.equal(await cache.get(), before);
    await assert.rejects(cache.get(before), { message: 'gone' });
  });

  test('a source that hangs blocks no caller while there are credentials, and is aborted after a minute', async () => {
    const clock = new FakeClock();
    const loads: AbortSignal[] = [];
    const first = credentials('a');
    const cache = new CredentialCache(({ signal }) => {
      loads.push(signal);
      return loads.length === 1 ? Promise.resolve(first) : new Promise(() => {});
    }, clock);
    assert.equal(await cache.get(), first);
    for (let second = 0; second < 59; second += 10) {
      clock.advance(10_000);
      assert.equal(await cache.get(), first);
    }
    assert.equal(loads.length, 2, 'one load at a time');
    const refused = assert.rejects(cache.get(first), { code: 'ConnectionError' });
    await clock.advanceAsync(60_000);
    assert.equal(loads[1]?.aborted, true, 'the load is aborted');
    await clock.advanceAsync(60_000);
    await refused;
  });

  test('credentials that are refused during a refresh are replaced by a load that knows of the refusal', async () => {
    const clock = new FakeClock();
    const loads: boolean[] = [];
    const pending: ((value: ConnectionCredentials) => void)[] = [];
    const cache = new CredentialCache(({ rejected }) => {
      loads.push(rejected);
      return new Promise((resolve) => pending.push(resolve));
    }, clock);
    const got = cache.get();
    pending.shift()?.(credentials('old'));
    const old = await got;
    clock.advance(10_000);
    await cache.get();
    const fresh = cache.get(old);
    pending.shift()?.(credentials('old'));
    await settle();
    pending.shift()?.(credentials('new'));
    assert.equal((await fresh).headers['authorization'], 'Bearer new');
    assert.deepEqual(loads, [false, false, true]);
  });

  test('a source that has nothing at first is tried again', async () => {
    const { source, cache } = cacheOf(credentials('a'));
    const good = source.current;
    source.current = new Error('not yet');
    await assert.rejects(cache.get(), { message: 'not yet' });
    source.current = good;
    assert.equal((await cache.get()).headers['authorization'], 'Bearer a');
  });
});
