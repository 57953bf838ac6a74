import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CommandError, UsageError } from '../../../src/cli/command.ts';
import { verifyCommand } from '../../../src/cli/credential/verify.ts';
import { leaf } from '../../../testing/support/openssl.ts';
import { VECTOR_TIME } from '../../credential/vectors.ts';
import { runCommand, temporaryDirectory } from '../run-command.ts';

const vector = (name: string) => fileURLToPath(new URL(`../../vectors/${name}`, import.meta.url));

const verify = (...argv: string[]) =>
  runCommand(verifyCommand, ['--cert', vector('leaf.crt'), ...argv], { now: VECTOR_TIME });

test('a good credential is shown check by check, and accepted', async () => {
  const { status, stdout } = await verify(
    '--dc',
    vector('p256.dc'),
    '--key',
    vector('p256.key'),
    '--ca',
    vector('ca.crt'),
  );
  assert.equal(status, 0);
  const lines = stdout.split('\n');
  const checks = lines.slice(0, lines.indexOf(''));
  assert.equal(checks.length, 15);
  assert.ok(checks.every((line) => line.startsWith('ok      ')));
  assert.ok(checks.some((line) => line.endsWith('(node:crypto)')));
  assert.ok(checks.some((line) => line.endsWith('(@noble/curves)')));
  assert.ok(checks.includes('ok      the certificate chains to the CA: CN=localhost < CN=dcx-test-ca'));
  assert.match(lines.at(-2) ?? '', /^Good until 20.*Z \(\d+h.* remain\)$/);
});

test('each bad vector is refused with its reason', async () => {
  for (const [name, failed] of [
    ['client', /^failed {2}the certificate's key signed it as a Server credential \(node:crypto\)$/m],
    ['client', /^failed {2}the certificate's key signed it as a Server credential \(@noble\/curves\)$/m],
    ['long', /^failed {2}at most seven days remain$/m],
    ['exp', /^failed {2}the credential has not expired$/m],
  ] as const) {
    const { status, stdout } = await verify('--dc', vector(`${name}.dc`));
    assert.equal(status, 1);
    assert.match(stdout, failed);
    assert.match(stdout, /\nRefused:\n {2}\w+: /);
  }
});

test('a reason that both implementations give is printed once', async () => {
  const { stdout } = await verify('--dc', vector('client.dc'));
  assert.equal(stdout.match(/BadSignature/g)?.length, 1);
});

test('--usage decides which context must be signed', async () => {
  assert.equal((await verify('--dc', vector('client.dc'), '--usage', 'Client')).status, 0);
  assert.equal((await verify('--dc', vector('p256.dc'), '--usage', 'Client')).status, 1);
});

test('--at verifies at another time', async () => {
  assert.equal((await verify('--dc', vector('exp.dc'), '--at', '2026-11-22T21:40:45Z')).status, 0);
  assert.equal((await verify('--dc', vector('p256.dc'), '--at', '2027-06-01T00:00:00Z')).status, 1);
  await assert.rejects(verify('--dc', vector('p256.dc'), '--at', 'yesterday'), UsageError);
});

test('--key must be the key that the credential is for', async () => {
  const { status, stdout } = await verify('--dc', vector('p256.dc'), '--key', vector('p384.key'));
  assert.equal(status, 1);
  assert.match(stdout, /KeyMismatch/);
});

test('--ca must have issued the certificate, and be valid then', async (t) => {
  const stranger = join(temporaryDirectory(t), 'ca.crt');
  writeFileSync(stranger, leaf({ basicConstraints: 'critical,CA:TRUE', subject: '/CN=dcx-test-ca' }).certificatePem);
  const { status, stdout } = await verify('--dc', vector('p256.dc'), '--ca', stranger);
  assert.equal(status, 1);
  assert.match(stdout, /^failed {2}the certificate chains to the CA$/m);
  assert.match(stdout, /Untrusted: no valid path/);
});

test('a certificate that cannot delegate is shown as a check, not as an error', async (t) => {
  const plain = join(temporaryDirectory(t), 'plain.crt');
  writeFileSync(plain, leaf({ delegationUsage: null, key: 'RSA' }).certificatePem);
  const { status, stdout } = await runCommand(verifyCommand, ['--cert', plain, '--dc', vector('p256.dc')]);
  assert.equal(status, 1);
  assert.match(stdout, /^failed {2}the certificate may delegate$/m);
  assert.match(stdout, /^failed {2}the certificate's key may delegate$/m);
  assert.match(stdout, /Firefox/);
});

test('bytes that are not a credential are refused', async (t) => {
  const file = join(temporaryDirectory(t), 'dc.bin');
  writeFileSync(file, Buffer.from([0, 1, 2]));
  const { status, stdout } = await verify('--dc', file);
  assert.equal(status, 1);
  assert.match(stdout, /Malformed: .*TruncatedValidTime/);
});

test('files that cannot be read as what they should be are errors that name them', async () => {
  for (const [argv, message] of [
    [['--dc', vector('leaf.crt')], /leaf\.crt: no delegated credential/],
    [['--dc', vector('none.dc')], /none\.dc does not exist/],
    [['--dc', vector('p256.dc'), '--key', vector('leaf.crt')], /leaf\.crt: expected an unencrypted private key/],
    [['--dc', vector('p256.dc'), '--ca', vector('p256.key')], /p256\.key: there is a private key/],
  ] as const) {
    await assert.rejects(verify(...argv), (error: unknown) => {
      assert.ok(error instanceof CommandError, String(error));
      assert.match(error.message, message);
      return true;
    });
  }
});
