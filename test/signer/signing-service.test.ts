/** What the signer decides, and when, with a key that is slow or gone. The key is a fake; policy, queue and log are real. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { type Signer, signerFromPem } from '../../src/credential/signer.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { AuditLogEntry } from '../../src/signer/audit-log.ts';
import { GrantsUnreadableError } from '../../src/signer/granted-uses.ts';
import type { SignerGrant } from '../../src/signer/policy.ts';
import type { SignRequest } from '../../src/signer/protocol.ts';
import { SigningQueue } from '../../src/signer/signing-queue.ts';
import { SigningService } from '../../src/signer/signing-service.ts';
import { leaf } from '../../testing/support/openssl.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';

const web = leaf();
const certificate = readDelegationCertificate(web.certificatePem);
const key = await generateCredentialKey('ECDSAP256');
const NOW = Math.floor(Date.now() / 1000);
const GRANT: SignerGrant = {
  certificate: 'vault/web-tls',
  from: [{ namespace: 'edge' }],
  usages: ['Server'],
  maxLifetimeSeconds: undefined,
};
const CLIENT = { name: 'eu', cluster: 'eu' };
const settled = () => new Promise((resolve) => setImmediate(resolve));

const ask = (change: Partial<SignRequest> = {}): SignRequest => ({
  certificate: 'vault/web-tls',
  usage: 'Server',
  dcCertVerifyAlgorithm: 0x0403,
  subjectPublicKeyInfo: key.subjectPublicKeyInfo,
  expiresAt: NOW + 3_600,
  namespace: 'edge',
  resource: 'web',
  podUid: 'uid',
  ...change,
});

class World {
  readonly log = recordingLogger();
  readonly entries: AuditLogEntry[] = [];
  /** Signatures that were requested from the key and are not answered yet. */
  readonly pending: (() => void)[] = [];
  signatures = 0;
  grants: readonly SignerGrant[] = [GRANT];
  auditFails = false;
  usable = true;
  /** Grants to the namespace `edge`. */
  unreadable: ApiError | undefined;
  readonly service: SigningService;

  constructor(concurrency: number, isSlow: boolean) {
    const inner = signerFromPem(web.keyPem);
    const signer: Signer = {
      scheme: inner.scheme,
      sign: async (message, options) => {
        this.signatures += 1;
        if (isSlow) await new Promise<void>((resolve) => this.pending.push(resolve));
        return await inner.sign(message, options);
      },
    };
    this.service = new SigningService({
      certificates: {
        get: (name) => (name === 'vault/web-tls' && this.usable ? { certificate, signer } : undefined),
        has: (name) => name === 'vault/web-tls',
      },
      grants: {
        current: ({ namespace }) => {
          if (this.unreadable === undefined || namespace !== 'edge') return this.grants;
          return Promise.reject(new GrantsUnreadableError(this.unreadable));
        },
        mayRead: () => true,
      },
      queue: new SigningQueue({ concurrency, maxWaiting: 100 }),
      audit: {
        append: async (entries) => {
          if (this.auditFails) throw new Error('the disk is full');
          this.entries.push(...entries);
        },
      },
      maxLifetimeSeconds: 86_400,
      now: () => NOW * 1000,
      log: this.log,
    });
  }

  async sign(requests: readonly SignRequest[], signal = new AbortController().signal): Promise<readonly string[]> {
    const results = await this.service.sign(CLIENT, requests, signal);
    return results.map((result) => (result.ok ? 'signed' : result.reason));
  }

  async answerOne(): Promise<void> {
    this.pending.shift()?.();
    await settled();
  }
}

test('a grant that is withdrawn while requests wait for the key stops all that have not begun', async () => {
  const world = new World(1, true);
  const results = world.sign([ask({ expiresAt: NOW + 60 }), ask(), ask()]);
  await settled();
  world.grants = [];
  await world.answerOne();
  assert.deepEqual(await results, ['signed', 'NotPermitted', 'NotPermitted']);
  assert.equal(world.signatures, 1);
});

test('nothing more is signed for a caller that has gone, and what was signed is in the log', async () => {
  const world = new World(1, true);
  const caller = new AbortController();
  const results = world.sign([ask({ podUid: 'first' }), ask(), ask()], caller.signal);
  await settled();
  caller.abort(new Error('gone'));
  await settled();
  await world.answerOne();
  await results;
  assert.equal(world.signatures, 1);
  assert.equal(world.entries.length, 3);
  assert.ok(world.entries.slice(1).every(({ event, reason }) => event === 'refused' && reason === 'SigningFailed'));
});

test('a key that is not a point on its curve is refused before anything is signed', async () => {
  const world = new World(4, false);
  const point = Uint8Array.from(key.subjectPublicKeyInfo);
  point[point.length - 1] = (point.at(-1) ?? 0) ^ 1;
  const infinity = Uint8Array.from(key.subjectPublicKeyInfo).fill(0, key.subjectPublicKeyInfo.length - 64);
  const compressed = Uint8Array.from(key.subjectPublicKeyInfo.subarray(0, -32));
  const requests = [point, infinity, compressed].map((subjectPublicKeyInfo) => ask({ subjectPublicKeyInfo }));
  assert.deepEqual(await world.sign(requests), Array(3).fill('PublicKeyUnsupported'));
  assert.equal(world.signatures, 0);
});

test('a line of the log that cannot be written lets no signature out', async () => {
  const world = new World(4, false);
  world.auditFails = true;
  await assert.rejects(world.sign([ask(), ask()]), /the disk is full/);
});

test('what does not exist is refused in the same words, in the same steps, as what is not granted', async () => {
  const world = new World(4, false);
  const results = await world.service.sign(
    CLIENT,
    [
      ask({ certificate: 'vault/nosuch' }),
      ask({ namespace: 'shop' }),
      ask({ certificate: 'vault/nosuch', namespace: 'shop' }),
    ],
    new AbortController().signal,
  );
  for (const result of results) assert.deepEqual(result, results[0]);
  // The log has what was requested, and nothing that exists for only one of them.
  const shapes = world.entries.map((entry) => Object.keys(entry).join());
  assert.equal(new Set(shapes).size, 1);
  assert.equal(world.signatures, 0);
});

test('if the API server refuses to show the grants of one request, the others of the call are signed; if it does not answer, none is', async () => {
  const world = new World(8, false);
  world.grants = [GRANT, { ...GRANT, from: [{ namespace: 'shop' }] }];
  world.unreadable = new ApiError('no', { status: 403, reason: 'Forbidden' });
  assert.deepEqual(await world.sign([ask(), ask({ namespace: 'shop' })]), ['SigningFailed', 'signed']);
  world.unreadable = new ApiError('no answer', { status: 0, reason: 'Network' });
  await assert.rejects(world.sign([ask(), ask({ namespace: 'shop' })]), GrantsUnreadableError);
});

test('whoever has a grant of a certificate that cannot be used is not refused as if it was withdrawn; all others are, as ever', async () => {
  const world = new World(4, false);
  world.usable = false;
  const nosuch = { certificate: 'vault/nosuch' };
  world.grants = [GRANT, { ...GRANT, ...nosuch }];
  assert.deepEqual(await world.sign([ask(), ask({ namespace: 'shop' }), ask(nosuch)]), [
    'SigningFailed',
    'NotPermitted',
    'NotPermitted',
  ]);
  assert.equal(world.service.certificate(CLIENT, 'vault/web-tls'), 'unusable');
  assert.equal(world.service.certificate(CLIENT, 'vault/nosuch'), undefined);
});
