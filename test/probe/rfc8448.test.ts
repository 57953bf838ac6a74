/** The published trace of a handshake (RFC 8448 section 3), through every layer of the client but the ClientHello. */

import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { CIPHER_SUITES } from '../../src/probe/cipher-suite.ts';
import {
  clientApplicationSecret,
  digest,
  finishedData,
  handshakeSecrets,
  trafficKeys,
} from '../../src/probe/key-schedule.ts';
import { verifyServerSignature } from '../../src/probe/peer-signature.ts';
import { CONTENT, Protection, RecordReader } from '../../src/probe/record.ts';
import {
  readCertificateMessage,
  readCertificateVerify,
  readEncryptedExtensions,
  readServerHello,
} from '../../src/probe/server-messages.ts';

const TRACE = JSON.parse(readFileSync(new URL('../vectors/rfc8448.json', import.meta.url), 'utf8')) as Record<
  string,
  string
>;
const [SUITE] = CIPHER_SUITES;
assert.ok(SUITE);

function bytes(name: string): Buffer {
  const hex = TRACE[name];
  assert.ok(hex, `the trace has no ${name}`);
  return Buffer.from(hex, 'hex');
}

function hex(data: Uint8Array): string {
  return Buffer.from(data).toString('hex');
}

/** The handshake messages of a flight, headers included. */
function messages(flight: Buffer): readonly Buffer[] {
  const found: Buffer[] = [];
  for (let rest = flight; rest.length > 0; ) {
    const length = 4 + rest.readUIntBE(1, 3);
    found.push(rest.subarray(0, length));
    rest = rest.subarray(length);
  }
  return found;
}

const serverHello = bytes('serverHelloRecord').subarray(5);
const secrets = handshakeSecrets(SUITE, bytes('sharedSecret'), digest(SUITE, bytes('clientHello'), serverHello));

test('the ServerHello of the trace is read', () => {
  const hello = readServerHello(serverHello.subarray(4), new Uint8Array(0));
  assert.ok(hello.kind === 'hello');
  assert.equal(hello.suite, SUITE);
  assert.equal(hello.group, 'x25519');
  assert.equal(hex(hello.share), TRACE['serverPublic']);
});

test('the secrets and keys are those of the trace', () => {
  assert.equal(hex(secrets.handshake), TRACE['handshakeSecret']);
  assert.equal(hex(secrets.client), TRACE['clientHandshakeTraffic']);
  assert.equal(hex(secrets.server), TRACE['serverHandshakeTraffic']);
  const { iv, key } = trafficKeys(SUITE, secrets.server);
  assert.equal(hex(key), TRACE['serverHandshakeKey']);
  assert.equal(hex(iv), TRACE['serverHandshakeIv']);
});

test("the server's flight decrypts, and its signature and Finished hold", () => {
  const reader = new RecordReader();
  reader.protect(new Protection(SUITE, secrets.server));
  reader.push(bytes('serverFlightRecord'));
  const record = reader.next();
  assert.deepEqual(record, { type: CONTENT.handshake, content: bytes('serverFlight') });
  assert.equal(reader.next(), undefined);

  const [extensions, certificate, verify, finished] = messages(bytes('serverFlight'));
  assert.ok(extensions && certificate && verify && finished);
  assert.equal(readEncryptedExtensions(extensions.subarray(4), { types: [0, 10, 28], alpn: [] }), undefined);
  const { certificates, credential } = readCertificateMessage(certificate.subarray(4), true);
  assert.equal(credential, undefined);
  const key = new X509Certificate(certificates[0]).publicKey;
  const { scheme, signature } = readCertificateVerify(verify.subarray(4));
  const before = [bytes('clientHello'), serverHello, extensions, certificate];
  assert.ok(verifyServerSignature(scheme, key, digest(SUITE, ...before), signature));
  const other = digest(SUITE, ...before, verify);
  assert.ok(!verifyServerSignature(scheme, key, other, signature), 'another transcript is refused');
  assert.equal(hex(finishedData(SUITE, secrets.server, other)), hex(finished.subarray(4)));
});

test("the client's Finished, data and close_notify are those of the trace", () => {
  const transcript = digest(SUITE, bytes('clientHello'), serverHello, bytes('serverFlight'));
  const finished = finishedData(SUITE, secrets.client, transcript);
  assert.equal(hex(finished), TRACE['clientFinished']?.slice(8));
  const handshake = new Protection(SUITE, secrets.client);
  assert.equal(hex(handshake.seal(CONTENT.handshake, bytes('clientFinished'))), TRACE['clientFinishedRecord']);

  const application = clientApplicationSecret(SUITE, secrets.handshake, transcript);
  assert.equal(hex(application), TRACE['clientApplicationTraffic']);
  // One Protection for both: the second record has another nonce.
  const protection = new Protection(SUITE, application);
  assert.equal(hex(protection.seal(CONTENT.applicationData, bytes('clientData'))), TRACE['clientDataRecord']);
  assert.equal(hex(protection.seal(CONTENT.alert, Uint8Array.of(1, 0))), TRACE['clientAlertRecord']);
});
