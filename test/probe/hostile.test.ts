/**
 * Hostile servers. The recorded flight of a real server is changed, cut, repeated and mixed with noise: the client
 * refuses with its own error, whatever the bytes, and accepts the true flight in pieces of any size.
 */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import { ClientHandshake } from '../../src/probe/handshake.ts';
import { generateKeyShare, type KeyShare } from '../../src/probe/key-exchange.ts';
import { plainRecords, RecordReader } from '../../src/probe/record.ts';
import { TlsError } from '../../src/probe/tls-error.ts';
import { leaf } from '../../testing/support/openssl.ts';
import { feed, refusal } from './feed.ts';
import { startTlsServer } from './tls-server.ts';

/** The client's secrets are the same in every run, so that one recorded flight fits them all. */
const RANDOM = new Uint8Array(32).fill(7);
const keyShare: KeyShare = generateKeyShare('x25519');

function client(): ClientHandshake {
  return new ClientHandshake({
    serverName: 'web.example',
    alpn: [],
    delegatedCredentials: true,
    firstGroup: 'x25519',
    randomBytes: () => RANDOM,
    generateKeyShare: () => keyShare,
  });
}

let flight: Buffer;

before(async () => {
  const { certificatePem: cert, keyPem: key } = leaf();
  await using server = await startTlsServer({ cert, key });
  const socket = connect(server.port, '127.0.0.1');
  await once(socket, 'connect');
  const handshake = started();
  socket.write(client().start());
  const received: Buffer[] = [];
  for await (const chunk of socket) {
    received.push(chunk as Buffer);
    if (handshake.receive(chunk as Buffer).outcome !== undefined) break;
  }
  flight = Buffer.concat(received);
});

function started(): ClientHandshake {
  const handshake = client();
  handshake.start();
  return handshake;
}

function split(bytes: Uint8Array, sizes: readonly number[]): readonly Uint8Array[] {
  const chunks: Uint8Array[] = [];
  for (let start = 0, turn = 0; start < bytes.length; turn += 1) {
    const end = start + (sizes[turn % sizes.length] ?? 1);
    chunks.push(bytes.subarray(start, end));
    start = end;
  }
  return chunks;
}

describe('the recorded flight of a real server', () => {
  test('gives the same outcome in pieces of any size', () => {
    const whole = feed(started(), [flight]);
    assert.ok(whole !== undefined && !(whole instanceof TlsError));
    const sizes = fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(sizes, (pieces) => {
        assert.deepEqual(feed(started(), split(flight, pieces)), whole);
      }),
      { numRuns: 60 },
    );
    assert.deepEqual(feed(started(), split(flight, [1])), whole);
  });

  test('gives no outcome wherever it is cut', () => {
    for (let end = 0; end < flight.length - 200; end += 7)
      assert.equal(feed(started(), [flight.subarray(0, end)]), undefined);
  });

  test('is refused with any byte changed that the client reads', () => {
    const whole = feed(started(), [flight]);
    assert.ok(whole !== undefined && !(whole instanceof TlsError));
    const change = fc.record({ at: fc.nat({ max: flight.length - 1 }), xor: fc.integer({ min: 1, max: 255 }) });
    fc.assert(
      fc.property(change, ({ at, xor }) => {
        const changed = Buffer.from(flight);
        changed[at] = (changed[at] ?? 0) ^ xor;
        const outcome = feed(started(), [changed]);
        if (outcome === undefined || outcome instanceof TlsError) return;
        // What follows the server's Finished (a session ticket) is not read, nor is the version of a plain record.
        assert.deepEqual(outcome, whole);
      }),
      { numRuns: 600 },
    );
  });
});

describe('noise', () => {
  test('is refused, or waited on, and never breaks the client', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 600 }), { maxLength: 10 }), (chunks) => {
        const outcome = feed(started(), chunks);
        assert.ok(outcome === undefined || outcome instanceof TlsError);
      }),
      { numRuns: 500 },
    );
  });

  test('in the place of any handshake message is refused', () => {
    const message = fc.record({ type: fc.nat({ max: 255 }), body: fc.uint8Array({ maxLength: 400 }) });
    fc.assert(
      fc.property(message, ({ body, type }) => {
        const bytes = Buffer.concat([Uint8Array.of(type, 0, body.length >>> 8, body.length & 0xff), body]);
        refusal(started(), [plainRecords(22, bytes)]);
      }),
      { numRuns: 500 },
    );
  });

  test('that is another protocol is recognised at its first byte', () => {
    for (const text of ['HTTP/1.1 400 Bad Request\r\n', 'SSH-2.0-OpenSSH_9.2\r\n', '220 mail ESMTP\r\n', '\x15']) {
      if (text === '\x15') assert.equal(feed(started(), [Buffer.from(text)]), undefined);
      else assert.match(refusal(started(), [Buffer.from(text)]).message, /does not speak TLS/);
    }
  });
});

describe('floods', () => {
  const hello = () => flight.subarray(0, 5 + flight.readUInt16BE(3));

  test('of change_cipher_spec, empty records and records of one byte are bounded', () => {
    const changes = Array.from({ length: 10 }, () => plainRecords(20, Uint8Array.of(1)));
    assert.match(refusal(started(), changes).message, /change_cipher_spec/);
    assert.match(refusal(started(), [plainRecords(22, new Uint8Array(0))]).message, /empty record/);
    // A ServerHello of 200 kB, a byte a record.
    const start = plainRecords(22, Uint8Array.of(2, 3, 0, 0));
    const dribble = Array.from({ length: 200_000 }, () => plainRecords(22, Uint8Array.of(0)));
    assert.equal(refusal(started(), [start, ...dribble]).code, 'TooLarge');
  });

  test('of plain handshake bytes, of alerts and of a message that claims 16 MiB are refused', () => {
    assert.equal(refusal(started(), [plainRecords(22, Uint8Array.of(2, 0xff, 0xff, 0xff))]).code, 'TooLarge');
    assert.equal(refusal(started(), [plainRecords(21, Uint8Array.of(2, 40))]).alert, 'handshake_failure');
    assert.equal(refusal(started(), [plainRecords(21, Uint8Array.of(2))]).code, 'Malformed');
  });

  test('of retries are refused at the second', () => {
    const retry = Buffer.from(hello());
    Buffer.from('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c', 'hex').copy(retry, 11);
    // A key_share of a whole share is no HelloRetryRequest's.
    assert.equal(refusal(started(), [retry]).code, 'Malformed');
    assert.equal(refusal(started(), [hello(), hello()]).code, 'Unexpected');
  });

  test('of a long message in records of one byte is copied once, and not again for every byte', (t) => {
    const whole = Buffer.alloc(250_000);
    whole.writeUInt8(2);
    whole.writeUIntBE(whole.length - 4, 1, 3);
    const begun = 240_000;
    const bytes = Buffer.concat([
      plainRecords(22, whole.subarray(0, begun)),
      ...Array.from(whole.subarray(begun), (byte) => plainRecords(22, Uint8Array.of(byte))),
    ]);
    const chunks = Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, i) =>
      bytes.subarray(i * 65_536, (i + 1) * 65_536),
    );
    const client = started();
    let copied = 0;
    const concat = Buffer.concat.bind(Buffer);
    t.mock.method(Buffer, 'concat', (...args: Parameters<typeof concat>) => {
      const joined = concat(...args);
      copied += joined.length;
      return joined;
    });
    refusal(client, chunks);
    assert.ok(copied < 4 * bytes.length, `copied ${copied} bytes of ${bytes.length}`);
  });

  test('never make the reader hold more than a record', () => {
    const reader = new RecordReader();
    const record = plainRecords(22, new Uint8Array(16_384));
    let taken = 0;
    assert.throws(
      () => {
        for (;;) {
          reader.push(record);
          while (reader.next() !== undefined) taken += 1;
        }
      },
      { code: 'TooLarge' } satisfies Partial<TlsError>,
    );
    assert.ok(taken <= 32, `${taken} records`);
  });
});
