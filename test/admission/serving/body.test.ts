import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Body, BodyReader, BodyTooLargeError, BodyTooSlowError } from '../../../src/admission/serving/body.ts';
import { ByteBudget } from '../../../src/admission/serving/byte-budget.ts';
import { isCheapJson } from '../../../src/admission/serving/json-bounds.ts';
import { type Clock, systemClock } from '../../../src/kubernetes/clock.ts';
import { FakeClock, settle } from '../../../testing/support/fake-clock.ts';

const LIMITS = { maxSmallBytes: 300, maxBytes: 1_000, maxReceivedBytes: 5_000, maxLargeBodies: 2 };
type Copy = { readonly kind: 'whole'; readonly text: string } | { readonly kind: 'unread'; readonly beginning: string };
const copy = (body: Body): Copy => (body.kind === 'whole' ? { kind: 'whole', text: body.bytes.toString() } : body);
const share = () => new ByteBudget(1e9).open(() => assert.fail('cut off'));

async function* inPieces(text: string, cuts: readonly number[]): AsyncIterable<Buffer> {
  const ends = [...cuts.map((cut) => cut % (text.length + 1)), text.length].sort((a, b) => a - b);
  let start = 0;
  for (const end of ends) {
    yield Buffer.from(text.slice(start, end));
    start = end;
  }
}

describe('a body', () => {
  const reader = new BodyReader(LIMITS, new FakeClock());
  const anyText = fc.nat(6_000).map((length) => 'x'.repeat(length));

  test('in pieces of any size is whole, or known by its beginning, or refused', async () => {
    await fc.assert(
      fc.asyncProperty(anyText, fc.array(fc.nat(), { maxLength: 20 }), async (text, cuts) => {
        const reading = reader.read(inPieces(text, cuts), share(), copy);
        if (text.length > LIMITS.maxReceivedBytes) return await assert.rejects(reading, BodyTooLargeError);
        const body = await reading;
        if (text.length <= LIMITS.maxBytes) assert.equal(body.kind === 'whole' && body.text, text);
        else assert.ok(body.kind === 'unread' && body.beginning.length > 0 && text.startsWith(body.beginning));
      }),
    );
  });

  test('sent byte by byte is held in little more than its size', async () => {
    const budget = new ByteBudget(300);
    const cuts = Array.from({ length: 299 }, (_, index) => index);
    const held = budget.open(() => assert.fail('cut off'));
    await reader.read(inPieces('x'.repeat(300), cuts), held, copy);
    assert.equal(budget.total, 300);
  });
});

describe('of more large bodies than buffers', () => {
  /** Each body comes in two pieces of 400 letters, the second when it is sent. */
  function start(letters: string, clock: Clock) {
    const reader = new BodyReader(LIMITS, clock);
    return Array.from(letters, (letter) => {
      const second = Promise.withResolvers<void>();
      async function* pieces(): AsyncIterable<Buffer> {
        yield Buffer.from(letter.repeat(400));
        await second.promise;
        yield Buffer.from(letter.repeat(400));
      }
      const read = reader.read(pieces(), share(), copy).catch((error: unknown) => error);
      return { read, send: second.resolve, whole: { kind: 'whole', text: letter.repeat(800) } };
    });
  }

  async function assertWhole(bodies: ReturnType<typeof start>): Promise<void> {
    for (const { send } of bodies) send();
    for (const { read, whole } of bodies) assert.deepEqual(await read, whole);
  }

  test('that come at once, each is read, and none is mixed', async () => {
    const bodies = start('abcdefgh', new FakeClock());
    await settle();
    await assertWhole(bodies);
  });

  test('those with none waiting behind them are not hurried', async () => {
    const clock = new FakeClock();
    const bodies = start('ab', clock);
    await clock.advanceAsync(60_000);
    await assertWhole(bodies);
    assert.equal(clock.timers, 0);
  });

  test('those that stop in the middle are dropped, and the others are read', async () => {
    const clock = new FakeClock();
    const bodies = start('abcdefgh', clock);
    const [stopped, honest] = [bodies.slice(0, -2), bodies.slice(-2)];
    for (const { send } of honest) send();
    await clock.advanceAsync(1_000);
    await assertWhole(honest);
    for (const { read, send } of stopped) {
      send();
      assert.ok((await read) instanceof BodyTooSlowError);
    }
    assert.equal(clock.timers, 0);
  });

  test('a process that was stopped for a second drops none', async () => {
    const set: (() => void)[] = [];
    const cancel = () => assert.fail('nothing is cancelled here');
    const bodies = start('abc', { ...systemClock, setTimeout: (callback) => ({ cancel, order: set.push(callback) }) });
    await settle();
    // A timer fires once, however late it is.
    set.shift()?.();
    await assertWhole(bodies);
  });
});

describe('a JSON text', () => {
  const cheap = (text: string) => isCheapJson(Buffer.from(text));

  test('is cheap as pods are', () => {
    const container = {
      name: 'c',
      image: 'i',
      volumeMounts: Array.from({ length: 16 }, () => ({ name: 'v', mountPath: '/' })),
    };
    assert.ok(cheap(JSON.stringify({ spec: { containers: Array.from({ length: 256 }, () => container) } })));
  });

  for (const [what, text] of Object.entries({
    'nested deeply': '['.repeat(65),
    'with very many values': `[${'{},'.repeat(50_001)}{}]`,
    'with very many entries': `{${'"a":1,'.repeat(50_001)}"a":1}`,
  })) {
    test(`is not, ${what}`, () => assert.ok(!cheap(text)));
  }

  test('may have any character inside a string', () => {
    assert.ok(cheap(JSON.stringify(['[{'.repeat(200_000), '\\"[', '"'])));
  });

  test('that is cheap is parsed without running out of memory or stack', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 60 }), (text) => {
        if (cheap(text)) assert.doesNotThrow(() => JSON.parse(text));
      }),
    );
  });
});
