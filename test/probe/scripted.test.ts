/** Servers that have the right keys and misuse them: every message at the wrong time, floods of each kind, and answers too large. */
import assert from 'node:assert/strict';
import { createPrivateKey, createSign } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readPem } from '../../src/credential/pem.ts';
import { ClientHandshake } from '../../src/probe/handshake.ts';
import { type GroupName, generateKeyShare, type KeyShare } from '../../src/probe/key-exchange.ts';
import { vector } from '../../src/probe/presentation.ts';
import { plainRecords } from '../../src/probe/record.ts';
import { StartTls } from '../../src/probe/starttls.ts';
import { TlsError, type TlsErrorCode } from '../../src/probe/tls-error.ts';
import { leaf } from '../../testing/support/openssl.ts';
import { feed, refusal } from './feed.ts';
import { extension, helloRetryRequest, ScriptedServer } from './scripted-server.ts';

const SESSION_ID = new Uint8Array(32).fill(7);
const made = leaf();
const [{ der } = { der: new Uint8Array() }] = readPem(made.certificatePem);
const sign = (content: Uint8Array) => createSign('sha256').update(content).sign(createPrivateKey(made.keyPem));

interface Meeting {
  readonly client: ClientHandshake;
  readonly server: ScriptedServer;
}

function newClient(shares: KeyShare[], alpn: readonly string[] = []): ClientHandshake {
  return new ClientHandshake({
    serverName: 'web.example',
    alpn,
    delegatedCredentials: true,
    firstGroup: 'x25519',
    randomBytes: () => SESSION_ID,
    generateKeyShare: (group: GroupName) => {
      const share = generateKeyShare(group);
      shares.push(share);
      return share;
    },
  });
}

/** A client that has received the ServerHello. */
function meeting(alpn: readonly string[] = []): Meeting {
  const shares: KeyShare[] = [];
  const client = newClient(shares, alpn);
  const clientHello = client.start();
  const [clientShare] = shares;
  assert.ok(clientShare !== undefined);
  const server = new ScriptedServer({ clientShare, sessionId: SESSION_ID, clientHello });
  client.receive(server.hello);
  return { client, server };
}

function* forever(make: () => Uint8Array): Generator<Uint8Array> {
  for (;;) yield make();
}

test('the scripted server is accepted where it does what it should', () => {
  const { client, server } = meeting();
  const records = [server.encryptedExtensions(), server.certificate(der), server.certificateVerify(sign)];
  const outcome = feed(client, [...records, server.finished()]);
  assert.ok(outcome !== undefined && !(outcome instanceof TlsError));
  assert.deepEqual(
    outcome.certificates.map((one) => Buffer.from(one)),
    [Buffer.from(der)],
  );
});

test('what follows the Finished, in the same piece or without end, is not read', () => {
  for (const type of [4, 24]) {
    const { client, server } = meeting();
    const flight = [server.encryptedExtensions(), server.certificate(der), server.certificateVerify(sign)];
    const last = Buffer.concat([server.finished(), server.message(type, new Uint8Array(1_000))]);
    const outcome = feed(client, [...flight, last, ...[1, 2, 3].map(() => new Uint8Array(16_384))]);
    assert.ok(outcome !== undefined && !(outcome instanceof TlsError), `message ${type}`);
  }
});

describe('an answer to what was offered', () => {
  const protocol = (name: string) => extension(16, vector(2, vector(1, Buffer.from(name))));
  const meet = (answers: readonly Uint8Array[], ofCertificate: readonly Uint8Array[], alpn: readonly string[]) => {
    const { client, server } = meeting(alpn);
    const records = [server.encryptedExtensions(...answers), server.certificateWith([der], ofCertificate)];
    return feed(client, [...records, server.certificateVerify(sign), server.finished()]);
  };

  test('is accepted: the name, the groups, a protocol', () => {
    const outcome = meet(
      [extension(0, Uint8Array.of()), extension(10, Buffer.from('0002001d', 'hex')), protocol('h2')],
      [],
      ['h2'],
    );
    assert.ok(outcome !== undefined && !(outcome instanceof TlsError));
    assert.equal(outcome.alpn, 'h2');
  });

  test('is the only one: any other extension is refused, in EncryptedExtensions and with a certificate', () => {
    const isRefused = (outcome: unknown) => {
      assert.ok(outcome instanceof TlsError && outcome.code === 'Unexpected');
      assert.match(outcome.message, /may not be in th|expected it on the leaf only/);
    };
    fc.assert(
      fc.property(fc.nat(0xffff), fc.uint8Array({ maxLength: 20 }), (type, data) => {
        if (![0, 10].includes(type)) isRefused(meet([extension(type, data)], [], []));
        if (type !== 34) isRefused(meet([], [extension(type, data)], []));
      }),
      { numRuns: 60, examples: [5, 13, 16, 18, 28, 34, 42, 43, 44, 51].map((type) => [type, Uint8Array.of()]) },
    );
  });

  test('is refused where it names another protocol', () => {
    for (const name of ['h2', 'http/1.1\x1b[2J', '']) {
      const outcome = meet([protocol(name)], [], ['http/1.1']);
      assert.ok(outcome instanceof TlsError && outcome.code === 'Unexpected');
      assert.match(outcome.message, /^the server chose the protocol "[ -~]*", which was not offered$/);
    }
  });
});

describe('under the right keys, the client refuses', () => {
  const cases: readonly (readonly [string, (server: ScriptedServer) => readonly Uint8Array[], TlsErrorCode, RegExp])[] =
    [
      [
        'a compressed certificate, which it did not offer',
        (server) => [server.encryptedExtensions(), server.message(25, new Uint8Array(100))],
        'Unexpected',
        /handshake message 25 \(compressed_certificate\) where its Certificate was expected/,
      ],
      ['a ticket', (server) => [server.message(4, new Uint8Array(20))], 'Unexpected', /4 \(new_session_ticket\)/],
      ['a change of keys', (server) => [server.message(24, Uint8Array.of(1))], 'Unexpected', /24 \(key_update\)/],
      [
        'a message of an unknown type',
        (server) => [server.message(99, new Uint8Array(3))],
        'Unexpected',
        /message 99 where/,
      ],
      [
        'a chain of 33 certificates',
        (server) => [server.encryptedExtensions(), server.certificate(...Array.from({ length: 33 }, () => der))],
        'TooLarge',
        /more than 32 certificates/,
      ],
      [
        'a certificate of 300 KiB, at its first bytes',
        (server) => [server.encryptedExtensions(), server.record(22, Uint8Array.of(11, 4, 0xb0, 0))],
        'TooLarge',
        /handshake message of \d+ bytes/,
      ],
      [
        'an invalid certificate',
        (server) => [
          server.encryptedExtensions(),
          server.certificate(new Uint8Array(50)),
          server.certificateVerify(() => new Uint8Array(70)),
        ],
        'Malformed',
        /certificate cannot be read/,
      ],
      [
        'no certificate',
        (server) => [server.encryptedExtensions(), server.certificate()],
        'Unexpected',
        /no certificate/,
      ],
      [
        'a second request for a certificate',
        (server) => {
          const request = () => server.message(13, Buffer.from([0, 0, 0]));
          return [server.encryptedExtensions(), request(), request()];
        },
        'Unexpected',
        /handshake message 13/,
      ],
      ['an empty record', (server) => [server.record(22, new Uint8Array(0))], 'Malformed', /empty record/],
      ['a record of padding', (server) => [server.record(0, new Uint8Array(200))], 'Malformed', /no content type/],
      ['application data', (server) => [server.record(23, new Uint8Array(9))], 'Unexpected', /application data/],
      [
        'a record of an unknown type',
        (server) => [server.record(99, new Uint8Array(9))],
        'Unexpected',
        /record of type 99/,
      ],
      [
        'an alert inside a message',
        (server) => [server.record(22, Uint8Array.of(8, 0, 0)), server.record(21, Uint8Array.of(1, 90))],
        'Unexpected',
        /interrupts/,
      ],
      [
        'an alert',
        (server) => [server.record(21, Uint8Array.of(2, 80))],
        'Alert',
        /refuses the handshake: internal_error/,
      ],
      ['a long alert', (server) => [server.record(21, Uint8Array.of(2, 80, 0))], 'Malformed', /two bytes/],
      [
        'the end of the connection, by its alert',
        (server) => [server.record(21, Uint8Array.of(1, 0))],
        'Closed',
        /closed the connection where its EncryptedExtensions was expected/,
      ],
      [
        'a change_cipher_spec that is protected',
        (server) => [server.record(20, Uint8Array.of(1))],
        'Unexpected',
        /protected change_cipher_spec/,
      ],
      ['plain text', () => [plainRecords(22, Uint8Array.of(8, 0, 0, 2, 0, 0))], 'Unexpected', /unprotected/],
      [
        'a Finished made with another key',
        (server) => [
          server.encryptedExtensions(),
          server.certificate(der),
          server.certificateVerify(sign),
          server.message(20, new Uint8Array(32)),
        ],
        'BadFinished',
        /Finished/,
      ],
      [
        'a signature by another key',
        (server) => [
          server.encryptedExtensions(),
          server.certificate(der),
          server.certificateVerify(() => sign(Buffer.from('something else'))),
        ],
        'BadSignature',
        /CertificateVerify/,
      ],
    ];
  for (const [what, script, code, message] of cases) {
    test(what, () => {
      const { client, server } = meeting();
      const refused = refusal(client, script(server));
      assert.equal(refused.code, code, refused.message);
      assert.match(refused.message, message);
    });
  }

  test('any message, and any record, that repeats without end', () => {
    const record = fc.record({
      type: fc.constantFrom(0, 20, 21, 22, 23, 24),
      message: fc.boolean(),
      messageType: fc.constantFrom(1, 2, 4, 5, 8, 11, 13, 15, 20, 24, 25, 254),
      content: fc.uint8Array({ maxLength: 40 }),
    });
    fc.assert(
      fc.property(record, ({ content, message, messageType, type }) => {
        const { client, server } = meeting();
        const flood = message ? () => server.message(messageType, content) : () => server.record(type, content);
        refusal(client, forever(flood));
      }),
      { numRuns: 60 },
    );
  });

  test('one message that arrives a byte per record, without end', () => {
    const { client, server } = meeting();
    function* dribble() {
      yield server.record(22, Uint8Array.of(8, 3, 0, 0));
      yield* forever(() => server.record(22, Uint8Array.of(0)));
    }
    assert.equal(refusal(client, dribble()).code, 'TooLarge');
  });
});

describe('a HelloRetryRequest', () => {
  const ask = (...retries: Parameters<typeof helloRetryRequest>[1][]) => {
    const client = newClient([]);
    client.start();
    return feed(
      client,
      retries.map((retry) => helloRetryRequest(SESSION_ID, retry)),
    );
  };
  const isRefused = (outcome: unknown, message: RegExp) => {
    assert.ok(outcome instanceof TlsError);
    assert.match(outcome.message, message);
  };

  test('is accepted once, with a group, a cookie or both', () => {
    assert.equal(ask({ group: 'secp256r1' }), undefined);
    assert.equal(ask({ cookie: new Uint8Array(300) }), undefined);
    assert.equal(ask({ group: 'secp256r1', cookie: new Uint8Array(8_192) }), undefined);
  });

  test('is refused the second time, whatever it requests', () => {
    isRefused(ask({ group: 'secp256r1' }, { cookie: Uint8Array.of(1) }), /second HelloRetryRequest/);
    isRefused(ask({ cookie: Uint8Array.of(1) }, { cookie: Uint8Array.of(2) }), /second HelloRetryRequest/);
  });

  test('is refused where it changes nothing, or its cookie does not fit into a ClientHello', () => {
    isRefused(ask({ group: 'x25519' }), /asks for the group that was sent/);
    isRefused(ask({}), /changes nothing/);
    isRefused(ask({ cookie: new Uint8Array(0) }), /empty cookie/);
    for (const length of [8_193, 65_000, 65_520])
      isRefused(ask({ cookie: new Uint8Array(length) }), /cookie of \d+ bytes/);
  });
});

describe('STARTTLS', () => {
  /** What the dialogue makes of these pieces, until it is ready or refuses. */
  const talk = (protocol: 'smtp' | 'imap', pieces: Iterable<string>) => {
    const dialogue = new StartTls(protocol);
    let taken = 0;
    for (const piece of pieces) {
      taken += piece.length;
      assert.ok(taken <= 32 * 1024, 'the client takes no more');
      const step = dialogue.receive(Buffer.from(piece, 'latin1'));
      if (step.kind === 'ready') return 'ready';
      if (step.kind === 'refused') return step.message;
    }
    return 'waits';
  };
  const endless = function* (first: readonly string[], line: string) {
    yield* first;
    for (;;) yield line;
  };

  test('ends a greeting and an answer of many lines that never end', () => {
    assert.match(talk('smtp', endless([], '220-welcome\r\n')), /exceeds 16 KiB/);
    assert.match(talk('smtp', endless(['220 mail\r\n'], '250-SIZE 1\r\n')), /exceeds 16 KiB/);
    assert.match(talk('smtp', endless([], 'x')), /exceeds 16 KiB/);
    assert.match(talk('imap', endless(['* OK ready\r\n'], '* CAPABILITY IMAP4rev1\r\n')), /exceeds 16 KiB/);
  });

  test('refuses what was sent in the clear to be read as TLS, whenever it came', () => {
    const injected = /sent text after its answer/;
    assert.match(talk('smtp', ['220 mail\r\n', '250 STARTTLS\r\n', '220 go\r\n250 injected\r\n']), injected);
    assert.match(talk('smtp', ['220 mail\r\n', '250 STARTTLS\r\n220 go\r\n', '220 go\r\n']), injected);
    assert.match(talk('smtp', ['220 mail\r\n250 x\r\n220 go\r\n', 'x', '\x16\x03\x03']), injected);
    assert.match(talk('imap', ['* OK ready\r\n', 'a1 OK begin\r\n* injected\r\n']), injected);
    assert.match(talk('imap', ['* OK ready\r\na1 OK begin\r\n', 'a1 OK begin\r\n']), injected);
  });

  test('says what the server answered, without what acts on a terminal', () => {
    assert.match(
      talk('smtp', ['220 mail\r\n', '250 x\r\n', '454 \x1b[31mno\u202etls\r\n']),
      /^the server answers STARTTLS with: 454 /,
    );
    assert.ok(!talk('smtp', ['554 \x1b]0;x\x07\r\n']).includes('\x1b'));
    assert.match(talk('imap', ['* OK ready\r\n', 'a1 BAD what\r\n']), /answers STARTTLS with: a1 BAD what/);
    assert.match(talk('imap', ['* BYE\r\n']), /answers GREETING with/);
  });

  test('never crashes, and never waits for more than it accepts', () => {
    const piece = fc.oneof(
      fc.string(),
      fc.constantFrom('220 a\r\n', '250-b\r\n', '250 c\r\n', '* OK\r\n', 'a1 OK\r\n', '\r\n'),
    );
    fc.assert(
      fc.property(fc.constantFrom('smtp' as const, 'imap' as const), fc.array(piece), (protocol, pieces) => {
        assert.ok(talk(protocol, pieces).length > 0);
      }),
      { numRuns: 300 },
    );
  });
});
