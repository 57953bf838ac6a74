/** Whatever arrives in pieces takes about its own size in memory: an API server, or whoever stands before it, chooses the pieces. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { type Receiver, type WholeAnswer, whole } from '../../src/kubernetes/client/answers.ts';
import { systemClock } from '../../src/kubernetes/clock.ts';
import { Deadline } from '../../src/kubernetes/deadline.ts';
import { GrowingBytes } from '../../src/kubernetes/growing-bytes.ts';
import { JsonLines } from '../../src/kubernetes/json-lines.ts';
import { MessageReader } from '../../src/kubernetes/port-forward/frames.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** In bytes: what is still held when the work is done. */
function heldAfter<T>(work: () => T): { readonly held: number; readonly result: T } {
  const inUse = (): number => {
    collectGarbage();
    const { arrayBuffers, heapUsed } = process.memoryUsage();
    return arrayBuffers + heapUsed;
  };
  const before = inUse();
  const result = work();
  return { held: inUse() - before, result };
}

const PIECES = 200_000;
/** A piece by itself takes a hundred times its byte. */
const MOST_HELD = 4_000_000;

test('pieces are put together in their order, and the first is left as it was', () => {
  const batches = fc.array(fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 8 }), { maxLength: 4 });
  fc.assert(
    fc.property(batches, (all) => {
      const bytes = new GrowingBytes();
      for (const pieces of all) {
        const given = pieces.map((piece) => Buffer.from(piece));
        for (const piece of given) bytes.append(piece);
        const whole = Buffer.concat(pieces);
        assert.equal(bytes.length, whole.length);
        assert.ok(bytes.take().equals(whole));
        assert.equal(bytes.length, 0);
        assert.ok(given.every((piece, index) => piece.equals(pieces[index] ?? new Uint8Array())));
      }
    }),
  );
});

describe('the smallest of pieces take no more than themselves', () => {
  test('of an answer', async () => {
    using deadline = new Deadline(new AbortController().signal, systemClock, 60_000);
    type Sent = Parameters<Receiver<WholeAnswer>['send']>;
    type Handler = Parameters<Sent[0]['dispatch']>[1];
    let handler: Handler | undefined;
    const pool = {
      dispatch: (_: unknown, given: Handler) => {
        handler = given;
        return true;
      },
    } as unknown as Sent[0];
    const answer = whole().send(pool, { method: 'GET', path: '/' }, deadline, () => {});
    const controller = {} as Parameters<NonNullable<Handler['onResponseStart']>>[0];
    handler?.onResponseStart?.(controller, 200, {}, 'OK');
    const { held } = heldAfter(() => {
      for (let index = 0; index < PIECES; index += 1) handler?.onResponseData?.(controller, Buffer.from('1'));
    });
    assert.ok(held < MOST_HELD, `${held} bytes are held`);
    handler?.onResponseEnd?.(controller, {});
    assert.equal((await answer).text.length, PIECES);
  });

  test('of a line of a watch', () => {
    const { held, result: lines } = heldAfter(() => {
      const unfinished = new JsonLines('a test', 16 * 1024 * 1024);
      for (let index = 0; index < PIECES; index += 1) unfinished.push(Buffer.from('1'));
      return unfinished;
    });
    assert.ok(held < MOST_HELD, `${held} bytes are held`);
    assert.equal(lines.push(Buffer.from('\n'))[0]?.length, PIECES);
  });

  test('of a message that is forwarded, whatever comes between its fragments', () => {
    const fragment = Buffer.from([0x00, 1, 7]);
    const pings = Buffer.concat(Array.from({ length: 500 }, () => Buffer.from([0x89, 125, ...new Uint8Array(125)])));
    const { held, result: reader } = heldAfter(() => {
      const unfinished = new MessageReader();
      unfinished.push(Buffer.from([0x02, 0]));
      for (let index = 0; index < 200; index += 1) unfinished.push(Buffer.concat([fragment, pings]));
      return unfinished;
    });
    assert.ok(held < MOST_HELD, `${held} bytes are held`);
    assert.equal(reader.push(Buffer.from([0x80, 0])).at(-1)?.payload.length, 200);
  });

  test('of a message that is forwarded a few bytes at a time, which costs its length', () => {
    const reader = new MessageReader();
    const message = Buffer.concat([Buffer.from([0x82, 127, 0, 0, 0, 0, 0, 0x10, 0, 0]), Buffer.alloc(1024 * 1024, 7)]);
    const messages = [];
    for (let start = 0; start < message.length; start += 8)
      messages.push(...reader.push(message.subarray(start, start + 8)));
    assert.deepEqual(
      messages.map(({ payload }) => payload.length),
      [1024 * 1024],
    );
  });
});
