/** The WebSocket of a forwarded port, against a fake on the other end: the real API server is in test/audit, the real kubelet in test/e2e. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Duplex, duplexPair } from 'node:stream';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ForwardedStream } from '../../../src/kubernetes/port-forward/forwarded-stream.ts';
import {
  encodeFrame,
  type Message,
  MessageReader,
  OPCODE,
  WebSocketError,
} from '../../../src/kubernetes/port-forward/frames.ts';

/** As a server sends it: not masked. */
function serverFrame(opcode: number, payload: Uint8Array, final = true): Uint8Array {
  const { length } = payload;
  const header = length < 126 ? Buffer.alloc(2) : length < 65_536 ? Buffer.alloc(4) : Buffer.alloc(10);
  header[0] = (final ? 0x80 : 0) | opcode;
  header[1] = length < 126 ? length : length < 65_536 ? 126 : 127;
  if (header.length === 4) header.writeUInt16BE(length, 2);
  if (header.length === 10) header.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([header, payload]);
}

function unmask(frame: Uint8Array): Uint8Array {
  const bytes = Buffer.from(frame);
  const short = bytes.readUInt8(1) & 0x7f;
  const start = short < 126 ? 2 : short === 126 ? 4 : 10;
  const mask = bytes.subarray(start, start + 4);
  return bytes.subarray(start + 4).map((byte, index) => byte ^ (mask[index & 3] ?? 0));
}

function readAll(bytes: Uint8Array, size: number): readonly Message[] {
  const reader = new MessageReader();
  const messages: Message[] = [];
  for (let start = 0; start < bytes.length; start += size)
    messages.push(...reader.push(bytes.subarray(start, start + size)));
  return messages;
}

describe('frames', () => {
  const payload = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.constantFrom(125, 126, 127, 65_535, 65_536).map((length) => new Uint8Array(length).fill(7)),
  );

  test('are masked, and what is unmasked is what was sent', () => {
    fc.assert(
      fc.property(payload, fc.uint8Array({ minLength: 4, maxLength: 4 }), (bytes, mask) => {
        const frame = encodeFrame(OPCODE.binary, bytes, mask);
        assert.equal((frame[1] ?? 0) & 0x80, 0x80);
        assert.deepEqual(Buffer.from(unmask(frame)), Buffer.from(bytes));
      }),
    );
  });

  test('are read in pieces of any size, fragments and pings between them included', () => {
    fc.assert(
      fc.property(fc.array(payload, { maxLength: 4 }), fc.integer({ min: 1, max: 70_000 }), (parts, size) => {
        const frames = parts.map((part, index) =>
          serverFrame(index === 0 ? OPCODE.binary : OPCODE.continuation, part, index === parts.length - 1),
        );
        const ping = serverFrame(OPCODE.ping, Uint8Array.of(1));
        const messages = readAll(Buffer.concat(frames.flatMap((frame) => [frame, ping])), Math.max(size, 64));
        const data = messages.filter(({ opcode }) => opcode === OPCODE.binary);
        assert.equal(messages.length - data.length, parts.length);
        assert.deepEqual(
          data.map((one) => Buffer.from(one.payload)),
          parts.length === 0 ? [] : [Buffer.concat(parts)],
        );
      }),
      { numRuns: 60 },
    );
  });

  test('that no server may send are refused', () => {
    for (const bytes of [
      [0xc2, 0], // a reserved bit
      [0x83, 0], // an unknown opcode
      [0x82, 0x80, 0, 0, 0, 0], // masked
      [0x80, 0], // a continuation of nothing
      [0x09, 0], // a fragmented ping
      [0x89, 126, 0, 126], // a long one
      [0x82, 127, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff], // 2 GiB
    ]) {
      const all = Buffer.concat([Buffer.from(bytes), new Uint8Array(200)]);
      assert.throws(() => new MessageReader().push(all), WebSocketError, bytes.join());
    }
    const endless = serverFrame(OPCODE.binary, new Uint8Array(500_000), false);
    const more = serverFrame(OPCODE.continuation, new Uint8Array(600_000), false);
    assert.throws(() => new MessageReader().push(Buffer.concat([endless, more])), /exceeds 1 MiB/);
  });

  test('of noise are only ever refused', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 10 }), (chunks) => {
        const reader = new MessageReader();
        try {
          for (const chunk of chunks) reader.push(chunk);
        } catch (error) {
          assert.ok(error instanceof WebSocketError);
        }
      }),
    );
  });
});

describe('a forwarded port', () => {
  function pair(head: Uint8Array = new Uint8Array(0)) {
    const [near, far] = duplexPair();
    const stream = new ForwardedStream(near, head, randomBytes);
    const send = (channel: number, data: Uint8Array) =>
      far.write(serverFrame(OPCODE.binary, Buffer.concat([Uint8Array.of(channel), data])));
    return { stream, far, send };
  }
  const PORT = Uint8Array.of(0xfb, 0x20);

  test('passes on data, without the port number that precedes it', async () => {
    const { far, send, stream } = pair();
    send(0, PORT);
    send(1, PORT);
    send(0, Buffer.from('hello '));
    send(0, Buffer.from('there'));
    far.write(serverFrame(OPCODE.close, new Uint8Array(0)));
    const received: Buffer[] = [];
    for await (const chunk of stream) received.push(chunk as Buffer);
    assert.equal(Buffer.concat(received).toString(), 'hello there');
  });

  test('reads what came with the answer to the upgrade', async () => {
    const head = serverFrame(OPCODE.binary, Buffer.concat([Uint8Array.of(0), PORT]));
    const { send, stream } = pair(head);
    send(0, Buffer.from('data'));
    const [chunk] = (await once(stream, 'data')) as [Buffer];
    assert.equal(chunk.toString(), 'data');
    stream.destroy();
  });

  test('sends on channel 0, and answers a ping', async () => {
    const { far, stream } = pair();
    stream.write('hello');
    const [sent] = (await once(far, 'data')) as [Buffer];
    assert.deepEqual(Buffer.from(unmask(sent)), Buffer.from('\0hello'));
    far.write(serverFrame(OPCODE.ping, Uint8Array.of(9)));
    const [answer] = (await once(far, 'data')) as [Buffer];
    assert.deepEqual([answer.readUInt8(0) & 0x0f, [...unmask(answer)]], [OPCODE.pong, [9]]);
    stream.destroy();
  });

  test('answers the last of the pings of a server that does not read, and keeps no others', async () => {
    const written: Buffer[] = [];
    const pending: (() => void)[] = [];
    const socket = new Duplex({
      read() {},
      write: (chunk, _encoding, done) => {
        written.push(chunk as Buffer);
        pending.push(done);
      },
    });
    const stream = new ForwardedStream(socket, new Uint8Array(0), randomBytes);
    for (let number = 0; number < 200; number += 1) {
      socket.push(serverFrame(OPCODE.ping, Uint8Array.of(number)));
      await new Promise(setImmediate);
    }
    assert.deepEqual([written.length, socket.writableLength <= 16], [1, true]);
    for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
      next();
      await new Promise(setImmediate);
    }
    assert.deepEqual(
      written.map((frame) => unmask(frame)[0]),
      [0, 199],
    );
    stream.destroy();
  });

  test('ends at the close of the server, whatever is sent behind it', async () => {
    const data = (text: string) => serverFrame(OPCODE.binary, Buffer.concat([Uint8Array.of(0), Buffer.from(text)]));
    const sent = [
      serverFrame(OPCODE.binary, Buffer.concat([Uint8Array.of(0), PORT])),
      data('all of it'),
      serverFrame(OPCODE.close, new Uint8Array(0)),
      data('more'),
      serverFrame(OPCODE.close, new Uint8Array(0)),
    ];
    for (const chunks of [sent, [Buffer.concat(sent)]]) {
      const { far, stream } = pair();
      for (const chunk of chunks) far.write(chunk);
      const received: Buffer[] = [];
      for await (const chunk of stream) received.push(chunk as Buffer);
      assert.equal(Buffer.concat(received).toString(), 'all of it');
    }
  });

  test('fails with the message of the container runtime, without text that could hide a key', async () => {
    const { send, stream } = pair();
    send(1, PORT);
    send(1, Buffer.from(`error forwarding port 8443: ${'A'.repeat(2000)}`));
    const [error] = (await once(stream, 'error')) as [Error];
    assert.match(error.message, /^error forwarding port 8443: \(2000 characters\)$/);
  });

  test('fails for another protocol, and for a connection that breaks', async () => {
    const wrong = pair();
    wrong.send(7, PORT);
    assert.match(((await once(wrong.stream, 'error')) as [Error])[0].message, /channel 7/);
    const broken = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
    const stream = new ForwardedStream(broken, new Uint8Array(0), randomBytes);
    broken.destroy(new Error('cut'));
    assert.match(((await once(stream, 'error')) as [Error])[0].message, /cut/);
  });
});
