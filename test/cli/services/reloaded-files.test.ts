import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { reloadFiles } from '../../../src/cli/services/reloaded-files.ts';
import { signerCommand } from '../../../src/cli/services/signer.ts';
import { readSignerFiles, signerFiles } from '../../../src/cli/services/signer-files.ts';
import { makeDevCertificate } from '../../../src/provision/dev-authority.ts';
import type { SignerProcess } from '../../../src/signer/signer.ts';
import { FakeClock } from '../../../testing/support/fake-clock.ts';
import { eventually } from '../../../testing/support/processes.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';
import { runCommand, temporaryDirectory } from '../run-command.ts';

const URL = 'https://issuer.example';
const now = Math.floor(Date.now() / 1000);
const [first, second] = await Promise.all(
  ['one', 'two'].map((name) => makeDevCertificate({ dnsNames: [name], now, lifetimeSeconds: 86_400 })),
);
assert.ok(first && second);
const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const JWK = publicKey.export({ format: 'jwk' });
const JWKS = (kid: string) =>
  JSON.stringify({
    keys: [
      { ...JWK, kid },
      { kty: 'AKP', kid: 'of a later day' },
    ],
  });

/** The signer is a fake that records what it is given to use. */
async function running(t: TestContext) {
  assert.ok(first);
  const folder = temporaryDirectory(t);
  const put = (name: string, text: string): string => {
    writeFileSync(join(folder, `${name}.new`), text);
    renameSync(join(folder, `${name}.new`), join(folder, name));
    return join(folder, name);
  };
  const paths = {
    cert: put('tls.crt', first.certificate),
    key: put('tls.key', first.key),
    clientCa: put('ca.crt', first.authority),
    issuers: [{ url: URL, jwksFile: put('keys.json', JWKS('one')) }],
  };
  const stop = new AbortController();
  const used: unknown[] = [];
  let refuses = false;
  const signer = {
    useServingCertificate: (certificate: string) => {
      if (refuses) throw new Error('key values mismatch');
      used.push(certificate);
    },
    useClientCa: (pem: string) => void used.push(pem),
    useKeySet: (url: string, { keys }: { keys: { kid: string }[] }) => void used.push(`${url} ${keys[0]?.kid}`),
  } as unknown as SignerProcess;
  const files = await readSignerFiles(paths, stop.signal);
  const [clock, log] = [new FakeClock(), recordingLogger()];
  const seen = new Map<string, boolean>();
  const reads = new Map<string, number>();
  const observe = (name: string, current: boolean) => {
    seen.set(name, current);
    reads.set(name, (reads.get(name) ?? 0) + 1);
  };
  const ended = reloadFiles(signerFiles(paths, files, signer), { clock, log, observe }, stop.signal);
  t.after(async () => {
    stop.abort();
    await ended;
  });
  /** Resolves once all files have been read again. */
  const pass = async () => {
    const before = new Map(reads);
    clock.advance(10_000);
    await eventually('the files to be read', async () =>
      [...reads].every(([name, count]) => count > (before.get(name) ?? 0)) ? true : undefined,
    );
  };
  return { put, pass, used, seen, log, refuse: (on: boolean) => (refuses = on) };
}

test('a file that is replaced is used, and one that is not is left alone', async (t) => {
  const { pass, put, used } = await running(t);
  assert.ok(second);
  await pass();
  assert.deepEqual(used, []);
  put('ca.crt', second.authority);
  put('keys.json', JWKS('two'));
  await pass();
  assert.deepEqual(new Set(used), new Set([second.authority, `${URL} two`]));
  put('tls.crt', second.certificate);
  await pass();
  assert.equal(used.at(-1), second.certificate);
  await pass();
  assert.equal(used.length, 3);
});

for (const [what, file, broken, name] of [
  ['a CA file without a certificate', 'ca.crt', 'garbage', 'client CA'],
  ['an empty CA file', 'ca.crt', '', 'client CA'],
  ['half a CA file', 'ca.crt', first.authority.slice(0, 200), 'client CA'],
  ['a key set that is cut', 'keys.json', '{"keys": [', `keys of ${URL}`],
  ['a key set without keys', 'keys.json', '{}', `keys of ${URL}`],
  ['a key set with an empty list', 'keys.json', '{"keys": []}', `keys of ${URL}`],
  ['a key set whose keys are not public', 'keys.json', '{"keys": [{"kty":"oct","k":"AA"}]}', `keys of ${URL}`],
  ['a key set whose keys are cut', 'keys.json', JSON.stringify({ keys: [{ ...JWK, x: 'AA' }] }), `keys of ${URL}`],
  ['a key set of something else', 'keys.json', '{"keys": [1]}', `keys of ${URL}`],
] as const) {
  test(`${what} leaves the last good one in use, is logged once, and shows in the metrics`, async (t) => {
    const { log, pass, put, seen, used } = await running(t);
    put(file, broken);
    for (let count = 0; count < 3; count += 1) await pass();
    assert.deepEqual(used, []);
    assert.equal(seen.get(name), false);
    assert.deepEqual([...seen.values()].filter((current) => !current).length, 1, 'no other file');
    assert.equal(log.lines.filter(({ level }) => level === 'warn').length, 1);
    assert.ok(second);
    put(file, file === 'ca.crt' ? second.authority : JWKS('two'));
    await pass();
    assert.equal(used.length, 1);
    assert.equal(seen.get(name), true);
  });
}

test('a pair of two generations is tried again until it belongs together', async (t) => {
  const { pass, put, refuse, seen, used } = await running(t);
  assert.ok(second);
  refuse(true);
  put('tls.crt', second.certificate);
  await pass();
  assert.equal(seen.get('serving certificate'), false);
  refuse(false);
  put('tls.key', second.key);
  await pass();
  assert.deepEqual(used, [second.certificate]);
});

test('a signer does not start with a CA file that has no certificate', async (t) => {
  const folder = temporaryDirectory(t);
  const put = (name: string, text: string) => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  assert.ok(first);
  const config = 'clients: [{name: a, cluster: a, tlsName: one}]\ncertificates: [{name: a/b, directory: /nowhere}]\n';
  const started = runCommand(signerCommand, [
    `--config=${put('signer.yaml', config)}`,
    `--audit-log=${join(folder, 'audit')}`,
    `--tls-cert=${put('tls.crt', first.certificate)}`,
    `--tls-key=${put('tls.key', first.key)}`,
    `--client-ca=${put('ca.crt', 'garbage')}`,
    '--bind-address=127.0.0.1:0',
    '--metrics-bind-address=0',
    '--health-probe-bind-address=0',
  ]);
  await assert.rejects(started, /ca\.crt: no certificate found/);
});
