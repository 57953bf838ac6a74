/** Keys on a PKCS#11 token: SoftHSM, and in front of it a library that fails as hardware does. */

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { createPrivateKey, createPublicKey, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { csrCommand } from '../../src/cli/credential/csr.ts';
import { issueCommand } from '../../src/cli/credential/issue.ts';
import { verifyCommand } from '../../src/cli/credential/verify.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { verifyWithNode } from '../../src/credential/signature.ts';
import type { GuardedKey, KeyResult } from '../../src/keys/guarded-key.ts';
import { KeyError } from '../../src/keys/key-error.ts';
import { KeyOpener, type RemoteKeyUri } from '../../src/keys/key-opener.ts';
import { parseKeyUri } from '../../src/keys/key-uri.ts';
import { readAnswer } from '../../src/keys/pkcs11/helper-messages.ts';
import { derFromRaw } from '../../src/keys/pkcs11/raw-signature.ts';
import { type Clock, systemClock } from '../../src/kubernetes/clock.ts';
import { findSoftHsm, type TokenStore } from '../../testing/keys/softhsm.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';
import { convert, type Leaf, leaf } from '../../testing/support/openssl.ts';
import { endChild, eventually } from '../../testing/support/processes.ts';
import { runCommand, temporaryDirectory } from '../cli/run-command.ts';

const hsm = await findSoftHsm();
const skip = hsm.available || process.env['CI'] === 'true' ? false : hsm.reason;
const CURVES = ['P-256', 'P-384', 'P-521'] as const;
const never = new AbortController().signal;

describe('a key on a PKCS#11 token', { skip }, () => {
  let store: TokenStore;
  const leaves = new Map<string, Leaf>();
  const leafOf = (name: string) => leaves.get(name) ?? assert.fail(name);
  const certificateOf = (name: string) => readDelegationCertificate(leafOf(name).certificatePem);

  before(async () => {
    assert.ok(hsm.available, 'SoftHSM');
    store = hsm.createStore();
    await store.initialise('dcred test');
    for (const [position, key] of CURVES.entries()) {
      const made = leaf({ key });
      leaves.set(key, made);
      await store.importKey({ token: 'dcred test', label: key, id: `0${position}`, pem: made.keyPem });
    }
  });
  const opened: Promise<GuardedKey>[] = [];
  after(async () => {
    // Also those of a test that failed: a helper that is open keeps this process from ending.
    await Promise.allSettled(opened.map(async (opening) => await (await opening).close()));
    store?.[Symbol.dispose]();
  });

  const uriOf = (parts: Parameters<TokenStore['uri']>[0]) => {
    const uri = parseKeyUri(store.uri({ token: 'dcred test', ...parts }));
    assert.ok(uri.scheme === 'pkcs11');
    return uri;
  };

  /** Opens the key; its faults are read from a file that `fault` writes. */
  function opener(results: KeyResult[] = [], clock: Clock = systemClock) {
    const [faults, logins] = ['fault', 'logins'].map((name) => join(store.folder, `${name}-${randomUUID()}`)) as [
      string,
      string,
    ];
    writeFileSync(faults, 'ok');
    writeFileSync(logins, '');
    const keys = new KeyOpener({
      env: { ...store.env, FAULTY_TOKEN: faults, FAULTY_TOKEN_LOGINS: logins },
      clock,
      observe: (_backend, result) => results.push(result),
    });
    const open = (...request: Parameters<KeyOpener['open']>): Promise<GuardedKey> => {
      const opening = keys.open(...request);
      opened.push(opening);
      return opening;
    };
    return {
      keys: { open },
      fault: (text: string) => writeFileSync(faults, text),
      logins: () => readFileSync(logins, 'utf8').split('\n').length - 1,
    };
  }

  const open = (uri: RemoteKeyUri, name = 'P-256') => opener().keys.open(uri, certificateOf(name), never);

  for (const curve of CURVES) {
    test(`signs as the certificate's key: ${curve}`, async () => {
      const key = await open(uriOf({ object: curve }), curve);
      try {
        const messages = Array.from({ length: 40 }, (_, index) => Buffer.from(`message ${index}`));
        const signatures = await Promise.all(messages.map((message) => key.sign(message)));
        const publicKey = createPublicKey(createPrivateKey(leafOf(curve).keyPem));
        for (const [index, signature] of signatures.entries()) {
          const message = messages[index] ?? Buffer.alloc(0);
          assert.ok(verifyWithNode({ scheme: key.scheme, publicKey, message, signature }));
        }
      } finally {
        await key.close();
      }
    });
  }

  test('is found by its id, and without a certificate by its public half', async () => {
    const key = await opener().keys.open(uriOf({ id: '01' }), undefined, never);
    assert.equal(key.scheme.keyAlgorithm, 'ECDSAP384');
    assert.ok(key.publicKey.equals(certificateOf('P-384').publicKey));
    await key.close();
  });

  test('is refused with what is wrong', async () => {
    const pipe = join(store.folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    for (const [parts, name, expected] of [
      [
        { object: 'P-384' },
        'P-256',
        { code: 'KeyMismatch', message: /pkcs11:token=dcred%20test;object=P-384|certificate's/ },
      ],
      [{ object: 'none' }, 'P-256', { code: 'KeyNotFound' }],
      [{ object: 'P-256', pin: '' }, 'P-256', { code: 'KeyNotConfigured', message: /add pin-source/ }],
      [
        { object: 'P-256', pin: 'pin-source=/does/not/exist' },
        'P-256',
        { code: 'KeyNotConfigured', message: /\/does\/not\/exist: ENOENT/ },
      ],
      [
        { object: 'P-256', pin: `pin-source=${pipe}` },
        'P-256',
        { code: 'KeyNotConfigured', message: /\/pipe: it is not a regular file/ },
      ],
      [
        { object: 'P-256', library: '/etc/hostname' },
        'P-256',
        { code: 'KeyNotConfigured', message: /cannot load .*\/etc\/hostname/ },
      ],
      [{ object: 'P-256', pin: 'pin-value=S3CRET' }, 'P-256', { code: 'KeyDenied', message: /refused the PIN/ }],
    ] as const) {
      await assert.rejects(open(uriOf(parts), name), (error: Error) => {
        assert.doesNotMatch(`${error.message} ${error.stack}`, /S3CRET|1234/);
        assert.partialDeepStrictEqual({ code: (error as { code?: string }).code }, { code: expected.code });
        if ('message' in expected) assert.match(error.message, expected.message);
        return true;
      });
    }
  });

  test('several keys of one label: the certificate chooses', async () => {
    await store.initialise('two');
    const [first, second] = [leaf(), leaf()];
    await store.importKey({ token: 'two', label: 'web', id: '0a', pem: first.keyPem });
    await store.importKey({ token: 'two', label: 'web', id: '0b', pem: second.keyPem });
    const uri = uriOf({ token: 'two', object: 'web' });
    for (const { certificatePem } of [first, second]) {
      const key = await opener().keys.open(uri, readDelegationCertificate(certificatePem), never);
      await key.sign(Buffer.from('message'));
      await key.close();
    }
    await assert.rejects(opener().keys.open(uri, undefined, never), { code: 'KeyUnusable', message: /add id=/ });
  });

  test('dcred issue and dcred csr use it by its URI', async (t) => {
    const directory = temporaryDirectory(t);
    const certificate = join(directory, 'leaf.crt');
    writeFileSync(certificate, leafOf('P-384').certificatePem);
    const key = store.uri({ token: 'dcred test', object: 'P-384' });
    const out = join(directory, 'web');
    const options = { env: store.env };
    const issue = ['--cert', certificate, '--key', key, '--out', out];
    assert.equal((await runCommand(issueCommand, issue, options)).status, 0);
    const verify = ['--cert', certificate, '--dc', join(out, 'dc.bin'), '--key', join(out, 'dc.key')];
    assert.equal((await runCommand(verifyCommand, verify)).status, 0);

    const requested = join(directory, 'request');
    const csr = ['--dns', 'web.example', '--key', key, '--out', requested];
    assert.equal((await runCommand(csrCommand, csr, options)).status, 0);
    const pem = readFileSync(join(requested, 'tls.csr'));
    const publicKey = convert(pem, 'req', '-noout', '-verify', '-pubkey');
    assert.ok(createPublicKey(publicKey).equals(certificateOf('P-384').publicKey));
    assert.deepEqual(readdirSync(requested), ['tls.csr'], 'no key beside it');

    const other = [...issue.slice(0, 2), '--key', store.uri({ token: 'dcred test', object: 'P-256' }), '--out', out];
    await assert.rejects(runCommand(issueCommand, other, options), { code: 'KeyMismatch' });
    await assert.rejects(runCommand(issueCommand, ['--cert', certificate, '--key', 'pkcs12:x', '--out', out]), {
      code: 'Usage',
    });
  });

  const faulty = (parts: Parameters<TokenStore['uri']>[0] = {}) => {
    assert.ok(hsm.available);
    return uriOf({ object: 'P-256', library: hsm.faultyLibrary, ...parts });
  };

  const FAULTS = [
    // CKR_SESSION_HANDLE_INVALID, CKR_USER_NOT_LOGGED_IN, CKR_DEVICE_REMOVED.
    '0xb3',
    '0x101',
    '0x32',
    'crash',
    'shut',
    'flood',
    'write null',
    'write \x01\xff\xff\xff',
    `write {"id":0,"ok":true,"value":"AAAA"}`,
    `write {"id":2,"ok":false,"code":"constructor","message":""}`,
    `write {"id":2,"ok":true,"value":{"length":1e9}}`,
  ];
  for (const fault of FAULTS) {
    test(`under load, after ${JSON.stringify(fault)}: another session, another login, no signature lost`, async () => {
      const results: KeyResult[] = [];
      const { fault: set, keys, logins } = opener(results);
      const key = await keys.open(faulty(), certificateOf('P-256'), never);
      try {
        set(fault);
        const signatures = Array.from({ length: 20 }, (_, index) => key.sign(Buffer.from(`message ${index}`)));
        const settled = Promise.all(signatures);
        while (!results.includes('KeyUnavailable')) await new Promise((resolve) => setImmediate(resolve));
        set('ok');
        assert.equal((await settled).length, 20);
        assert.ok(logins() >= 2);
      } finally {
        await key.close();
      }
    });
  }

  test('a token that hangs holds up no caller that gives up, and nothing else in this process', async () => {
    const { fault, keys } = opener();
    const key = await keys.open(faulty(), certificateOf('P-256'), never);
    fault('hang');
    const stop = new AbortController();
    const signing = key.sign(Buffer.from('message'), { signal: stop.signal });
    await new Promise((resolve) => setImmediate(resolve));
    stop.abort(new Error('given up'));
    await assert.rejects(signing, /given up/);
    await key.close();
  });

  test('a token that hangs is discarded after a deadline, and the next one signs', async () => {
    const clock = new FakeClock();
    const results: KeyResult[] = [];
    const { fault, keys } = opener(results, clock);
    const key = await keys.open(faulty(), certificateOf('P-256'), never);
    fault('hang');
    let signed = false;
    const signing = key.sign(Buffer.from('message')).finally(() => {
      signed = true;
    });
    while (!results.includes('KeyUnavailable')) await clock.advanceAsync(1_000);
    fault('ok');
    // The wait before the next attempt; starting the new helper takes real time.
    await clock.advanceAsync(1_000);
    while (!signed) await new Promise((resolve) => setImmediate(resolve));
    await signing;
    await key.close();
  });

  test('a token that hangs is discarded even after all callers gave up, and their calls are not repeated', async () => {
    const clock = new FakeClock();
    const { fault, keys, logins } = opener([], clock);
    const key = await keys.open(faulty(), certificateOf('P-256'), never);
    fault('hang');
    for (let wave = 0; wave < 3; wave += 1) {
      const stop = new AbortController();
      const calls = Array.from({ length: 64 }, () => key.sign(Buffer.from('message'), { signal: stop.signal }));
      const settled = Promise.allSettled(calls);
      for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      stop.abort(new Error('given up'));
      await settled;
    }
    await clock.advanceAsync(10_000);
    fault('ok');
    await key.sign(Buffer.from('message'));
    await key.close();
    assert.equal(logins(), 2);
  });

  test('a signature that does not fit the certificate is never returned', async () => {
    const { fault, keys } = opener();
    const key = await keys.open(faulty(), certificateOf('P-256'), never);
    fault('wrong');
    await assert.rejects(key.sign(Buffer.from('message')), { code: 'KeyMismatch' });
    fault('ok');
    await key.sign(Buffer.from('message'));
    await key.close();
  });

  test('a refused PIN is tried once, because tokens lock', async () => {
    const { fault, keys, logins } = opener();
    fault('pin');
    const uri = faulty();
    await assert.rejects(keys.open(uri, certificateOf('P-256'), never), {
      code: 'KeyDenied',
      message: /refused the PIN/,
    });
    fault('ok');
    for (let time = 0; time < 3; time += 1) {
      await assert.rejects(keys.open(uri, certificateOf('P-256'), never), {
        code: 'KeyDenied',
        message: /not tried again/,
      });
    }
    assert.equal(logins(), 1);
  });

  test('a PIN that is wrong is tried once, however many keys are opened with it at the same time', async () => {
    const { fault, keys, logins } = opener();
    fault('pin');
    const open = () => keys.open(faulty(), certificateOf('P-256'), never);
    const opened = await Promise.allSettled([open(), open(), open(), open()]);
    for (const one of opened) assert.equal(one.status === 'rejected' && one.reason.code, 'KeyDenied');
    assert.equal(logins(), 1);
  });

  test('keys that are opened with one PIN at the same time are all opened', async () => {
    const { keys, logins } = opener();
    // SoftHSM rewrites a token's file at each login. A process that reads it at that moment finds no token, and tries again, as the signer does.
    let failed = 0;
    const open = (): Promise<GuardedKey> =>
      keys.open(faulty(), certificateOf('P-256'), never).catch((error: unknown) => {
        if (!(error instanceof KeyError && error.retryable)) throw error;
        failed += 1;
        return open();
      });
    const all = await Promise.all([open(), open(), open()]);
    // One for each key; an attempt that failed may have logged in before.
    assert.ok(logins() >= 3 && logins() <= 3 + failed, `${logins()} logins, ${failed} failed attempts`);
    await Promise.all(all.map((key) => key.close()));
  });

  test('a PIN that is locked is not wrong: it is tried again, for when somebody has reset it', async () => {
    const { fault, keys } = opener();
    fault('locked');
    const uri = faulty();
    await assert.rejects(keys.open(uri, certificateOf('P-256'), never), {
      code: 'KeyUnusable',
      message: /the PIN is locked/,
    });
    fault('ok');
    const key = await keys.open(uri, certificateOf('P-256'), never);
    await key.sign(Buffer.from('message'));
    await key.close();
  });

  for (const [what, name] of [
    ['a token that another program has logged in to', 'shared'],
    ['a token beside another that does not say what it is', 'strange'],
  ] as const) {
    test(`${what} is used`, async () => {
      const { fault, keys } = opener();
      fault(name);
      const key = await keys.open(faulty({ token: 'dcred test' }), certificateOf('P-256'), never);
      await key.sign(Buffer.from('message'));
      await key.close();
    });
  }

  test('a helper whose token hangs ends with its parent, however that ends', async (t) => {
    const faults = join(store.folder, `fault-${randomUUID()}`);
    writeFileSync(faults, 'ok');
    const uri = JSON.stringify(
      store.uri({ token: 'dcred test', object: 'P-256', library: hsm.available ? hsm.faultyLibrary : '' }),
    );
    const parent = startScript(
      `
      const { KeyOpener } = await import('${sourceUrl('keys/key-opener.ts')}');
      const { parseKeyUri } = await import('${sourceUrl('keys/key-uri.ts')}');
      const { systemClock: clock } = await import('${sourceUrl('kubernetes/clock.ts')}');
      const { readFileSync, writeFileSync } = await import('node:fs');
      const keys = new KeyOpener({ env: process.env, clock });
      const key = await keys.open(parseKeyUri(${uri}), undefined, new AbortController().signal);
      writeFileSync(${JSON.stringify(faults)}, 'hang');
      const signing = key.sign(Buffer.from('message'));
      setImmediate(() => console.log(readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8')));
      await signing;`,
      { ...store.env, FAULTY_TOKEN: faults },
    );
    t.after(() => endChild(parent));
    const [line] = (await once(createInterface({ input: parent.stdout }), 'line')) as [string];
    const helper = Number(line.trim());
    assert.ok(helper > 0, line);
    parent.kill('SIGKILL');
    await eventually('the helper to end', async () => (existsSync(`/proc/${helper}`) ? undefined : true)).catch(
      (error: unknown) => {
        process.kill(helper, 'SIGKILL');
        throw error;
      },
    );
  });

  test('a token that is taken away and put back is used again', async () => {
    const { keys } = opener();
    store.remove();
    const stop = new AbortController();
    const opening = keys.open(uriOf({ object: 'P-256' }), certificateOf('P-256'), stop.signal);
    await assert.rejects(opening, { code: 'KeyUnavailable', message: /no token matches/ });
    store.restore();
    const key = await keys.open(uriOf({ object: 'P-256' }), certificateOf('P-256'), never);
    await key.sign(Buffer.from('message'));
    await key.close();
  });
});

test('a helper that cannot be started, for want of file descriptors, is a fault that passes', async (t) => {
  const script = startScript(
    `
    const { HelperProcess } = await import('${sourceUrl('keys/pkcs11/helper-process.ts')}');
    const { systemClock } = await import('${sourceUrl('kubernetes/clock.ts')}');
    const { openSync } = await import('node:fs');
    try {
      for (;;) openSync('/dev/null');
    } catch {}
    const helper = new HelperProcess({}, systemClock, () => {});
    const asked = helper.ask({ do: 'sign', digest: '' }, { ms: 60_000, late: '' }, new AbortController().signal);
    await asked.catch((error) => process.stdout.write(String(error.code) + '\\n'));
    process.exit();`,
    process.env,
  );
  t.after(() => endChild(script));
  const [line] = (await once(createInterface({ input: script.stdout }), 'line')) as [string];
  assert.equal(line, 'KeyUnavailable');
});

const sourceUrl = (path: string) => pathToFileURL(join(import.meta.dirname, '..', '..', 'src', path)).href;

/** A program of its own, with few file descriptors. */
function startScript(text: string, env: NodeJS.ProcessEnv) {
  const words = ['-c', 'ulimit -n 128; exec "$0" --input-type=module -e "$1"', process.execPath, text];
  return spawn('/bin/sh', words, { env, stdio: ['ignore', 'pipe', 'inherit'] });
}

test('what the helper sends is an answer, whole and within bounds, or none', () => {
  const plain = { noNullPrototype: true };
  const answers = fc.oneof(
    fc.record({ id: fc.nat(), ok: fc.constant(true), value: fc.base64String({ minLength: 4, maxLength: 600 }) }, plain),
    fc.record(
      { id: fc.nat(), ok: fc.constant(false), code: fc.constantFrom('KeyDenied', 'KeyUnusable'), message: fc.string() },
      plain,
    ),
  );
  fc.assert(fc.property(answers, (answer) => assert.deepEqual(readAnswer(JSON.stringify(answer)), answer)));
  const changed = fc
    .tuple(answers, fc.constantFrom('id', 'ok', 'value', 'code', 'message'), fc.jsonValue())
    .map(([answer, name, value]) => JSON.stringify({ ...answer, [name]: value }));
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json(), changed), (line) => {
      const read = readAnswer(line);
      if (read === undefined) return;
      assert.ok(Number.isSafeInteger(read.id));
      if (read.ok) assert.ok(Buffer.from(read.value, 'base64').length > 0);
      else assert.ok(read.code.startsWith('Key') && read.message.length <= 4_096);
    }),
    { numRuns: 1_000 },
  );
  assert.equal(readAnswer(JSON.stringify({ id: 1, ok: true, value: 'A'.repeat(8_192) })), undefined);
});

test('r and s become the DER that OpenSSL writes', () => {
  assert.throws(() => derFromRaw(new Uint8Array()), { code: 'KeyUnusable' });
  assert.throws(() => derFromRaw(new Uint8Array(3)), { code: 'KeyUnusable' });
  fc.assert(
    fc.property(
      fc.constantFrom(32, 48, 66).chain((size) => fc.uint8Array({ minLength: 2 * size, maxLength: 2 * size })),
      (raw) => {
        const der = derFromRaw(raw);
        const half = raw.length / 2;
        const [r, s] = readIntegers(der);
        assert.equal(r, BigInt(`0x${Buffer.from(raw.subarray(0, half)).toString('hex')}`));
        assert.equal(s, BigInt(`0x${Buffer.from(raw.subarray(half)).toString('hex')}`));
      },
    ),
  );
});

/** With a different reader than the one under test: lengths of one or two bytes, minimal and positive. */
function readIntegers(der: Uint8Array): readonly [bigint, bigint] {
  let at = der[1] === 0x81 ? 3 : 2;
  assert.equal(at + (der[at - 1] ?? 0), der.length);
  const next = () => {
    const length = der[at + 1] ?? 0;
    assert.equal(der[at], 0x02);
    const content = der.subarray(at + 2, at + 2 + length);
    at += 2 + length;
    assert.ok((content[0] ?? 0) < 0x80, 'positive');
    assert.ok(content.length === 1 || content[0] !== 0 || (content[1] ?? 0) >= 0x80, 'minimal');
    return BigInt(`0x${Buffer.from(content).toString('hex')}`);
  };
  return [next(), next()];
}
