/** `dcred csr` and `dcred dev-ca`: what OpenSSL makes of the request, and what dcred makes of the certificate. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { csrCommand } from '../../src/cli/credential/csr.ts';
import { devCaCommand } from '../../src/cli/credential/dev-ca.ts';
import { issueCommand } from '../../src/cli/credential/issue.ts';
import { verifyCommand } from '../../src/cli/credential/verify.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { readCsr } from '../../src/issuer/read-csr.ts';
import { CA_KINDS, caInstructions } from '../../src/provision/ca-instructions.ts';
import { requestKeyFromPem } from '../../src/provision/certificate-request.ts';
import { authority, convert, type KeyKind, leaf } from '../../testing/support/openssl.ts';
import { runCommand, temporaryDirectory } from '../cli/run-command.ts';

describe('dcred csr', () => {
  test('for OpenSSL: the printed command gives a certificate that dcred issues on', async (t) => {
    const directory = temporaryDirectory(t);
    const argv = ['--dns', 'web.example', '--dns', '*.web.example', '--for', 'openssl', '--out', directory];
    const { status, stdout } = await runCommand(csrCommand, argv);
    assert.equal(status, 0);
    const ca = authority();
    writeFileSync(join(directory, 'CA.crt'), ca.certificatePem);
    writeFileSync(join(directory, 'CA.key'), ca.keyPem);
    const [program = '', ...words] = stdout.trim().split('\n').at(-1)?.split(' ') ?? [];
    execFileSync(program, words, { cwd: directory, stdio: 'pipe' });

    const made = readDelegationCertificate(readFileSync(join(directory, 'tls.crt'), 'utf8'));
    assert.deepEqual(made.dnsNames, ['web.example', '*.web.example']);
    const out = join(directory, 'issued');
    const files = ['--cert', join(directory, 'tls.crt'), '--key', join(directory, 'tls.key'), '--out', out];
    assert.equal((await runCommand(issueCommand, files)).status, 0);
    const check = ['--cert', join(out, 'tls.crt'), '--dc', join(out, 'dc.bin'), '--ca', join(directory, 'CA.crt')];
    assert.equal((await runCommand(verifyCommand, check)).status, 0);
  });

  test('a name that is too long for a subject gives one that strict clients accept', async (t) => {
    const directory = temporaryDirectory(t);
    const argv = ['--dns', LONG_NAME, '--for', 'openssl', '--out', directory];
    const { stdout } = await runCommand(csrCommand, argv);
    const ca = authority();
    writeFileSync(join(directory, 'CA.crt'), ca.certificatePem);
    writeFileSync(join(directory, 'CA.key'), ca.keyPem);
    const [program = '', ...words] = stdout.trim().split('\n').at(-1)?.split(' ') ?? [];
    execFileSync(program, words, { cwd: directory, stdio: 'pipe' });
    verifyStrictly(join(directory, 'CA.crt'), join(directory, 'tls.crt'));
  });

  test('the request carries the extension itself, for CAs that copy it', async (t) => {
    const directory = temporaryDirectory(t);
    for (const key of ['P-256', 'P-384', 'P-521'] as const) {
      const keyFile = join(directory, `${key}.key`);
      writeFileSync(keyFile, leaf({ key }).keyPem);
      const out = join(directory, key);
      const argv = ['--dns', 'web.example', '--key', keyFile, '--usage', 'Client', '--out', out];
      assert.equal((await runCommand(csrCommand, argv)).status, 0);
      assert.ok(!existsSync(join(out, 'tls.key')), 'the key stays where it is');
      const text = convert(readFileSync(join(out, 'tls.csr')), 'req', '-noout', '-text', '-verify');
      assert.match(text, /1\.3\.6\.1\.4\.1\.44363\.44/);
      assert.match(text, /TLS Web Client Authentication/);
    }
  });

  test('a key that cannot delegate is refused by its file', async (t) => {
    const directory = temporaryDirectory(t);
    for (const [key, found] of [
      ['RSA', /found rsa/],
      ['Ed25519', /found ed25519/],
      ['secp256k1', /found ec/],
    ] as const) {
      const file = join(directory, 'other.key');
      writeFileSync(file, leaf({ key }).keyPem);
      await assert.rejects(runCommand(csrCommand, ['--dns', 'a.example', '--key', file, '--out', directory]), found);
    }
    const garbage = join(directory, 'garbage.key');
    writeFileSync(garbage, 'no key');
    const argv = ['--dns', 'a.example', '--key', garbage, '--out', directory];
    await assert.rejects(runCommand(csrCommand, argv), /garbage\.key: .*cannot be read/);
  });

  test('a key in an encoding that clients refuse is requested in the one that they accept', async (t) => {
    const directory = temporaryDirectory(t);
    const reEncoded = (key: KeyKind, ...how: readonly string[]) => convert(leaf({ key }).keyPem, 'ec', ...how);
    for (const [name, keyPem] of [
      ['explicit parameters', reEncoded('P-256', '-param_enc', 'explicit')],
      ['a compressed point', reEncoded('P-384', '-conv_form', 'compressed')],
      ['both', reEncoded('P-521', '-param_enc', 'explicit', '-conv_form', 'compressed')],
      ['explicit parameters, from a real file', readFileSync(EXPLICIT_KEY, 'utf8')],
    ] as const) {
      const [keyFile, out] = [join(directory, `${name}.key`), join(directory, name)];
      writeFileSync(keyFile, keyPem);
      assert.equal((await runCommand(csrCommand, [...NAME, '--key', keyFile, '--out', out])).status, 0, name);
      const { publicKey } = readCsr(readFileSync(join(out, 'tls.csr'), 'utf8'));
      assert.ok(publicKey.equals(createPublicKey(keyPem)), name);
    }
  });

  test('a key is never overwritten, and no other user may read it', async (t) => {
    const directory = temporaryDirectory(t);
    const argv = ['--dns', 'web.example', '--out', directory];
    assert.equal((await runCommand(csrCommand, argv)).status, 0);
    const key = readFileSync(join(directory, 'tls.key'), 'utf8');
    assert.equal(statSync(join(directory, 'tls.key')).mode & 0o777, 0o600);
    await assert.rejects(runCommand(csrCommand, argv), /tls\.key exists: pass it with --key/);
    assert.equal(readFileSync(join(directory, 'tls.key'), 'utf8'), key);
  });

  test('of many at once into one directory one makes a key, and the others are told so', async (t) => {
    for (const isThere of [true, false]) {
      const directory = join(temporaryDirectory(t), 'web');
      if (isThere) mkdirSync(directory);
      const all = await Promise.allSettled(
        Array.from({ length: 8 }, () => runCommand(csrCommand, [...NAME, '--out', directory])),
      );
      const failures = all.flatMap((one) => (one.status === 'rejected' ? [String(one.reason)] : []));
      assert.equal(failures.length, 7, failures.join('\n'));
      for (const failure of failures)
        assert.match(failure, /exists: pass it with --key|is a directory that is not empty/);
      assert.deepEqual(readdirSync(directory).sort(), ['tls.csr', 'tls.key']);
      const { publicKey } = requestKeyFromPem(readFileSync(join(directory, 'tls.key'), 'utf8'));
      const requested = convert(readFileSync(join(directory, 'tls.csr')), 'req', '-noout', '-pubkey');
      assert.equal(requested, publicKey.export({ format: 'pem', type: 'spki' }));
    }
  });

  test('invalid names are refused', async (t) => {
    const out = temporaryDirectory(t);
    for (const name of ['', 'Web.Example', 'a b', 'a\nb', '*.*.example', 'x,DNS:evil.example']) {
      await assert.rejects(runCommand(csrCommand, ['--dns', name, '--out', out]), { code: 'Usage' });
    }
    await assert.rejects(runCommand(csrCommand, ['--out', out]), /--dns is required/);
  });

  test("the request for each CA names the extension in that CA's way", () => {
    const options = { request: 'tls.csr', dnsNames: ['web.example'], usage: 'Server' } as const;
    const content = (kind: (typeof CA_KINDS)[number]) => caInstructions(kind, options).file.content;
    assert.deepEqual(JSON.parse(content('aws-private-ca')).Extensions.CustomExtensions, [
      { ObjectIdentifier: '1.3.6.1.4.1.44363.44', Value: 'BQA=', Critical: false },
    ]);
    assert.equal(JSON.parse(content('cfssl')).signing.profiles.delegation.delegation_enabled, true);
    assert.deepEqual(csrCommand.options['for']?.choices, CA_KINDS);
  });
});

describe('dcred dev-ca', () => {
  test('makes a certificate that dcred issues on, and a CA that signs nothing else', async (t) => {
    const directory = join(temporaryDirectory(t), 'dev');
    const { status, stdout } = await runCommand(devCaCommand, ['--dns', 'web.example', '--out', directory]);
    assert.equal(status, 0, stdout);
    const ca = new X509Certificate(readFileSync(join(directory, 'ca.crt')));
    const made = new X509Certificate(readFileSync(join(directory, 'tls.crt')));
    assert.ok(made.verify(ca.publicKey) && ca.ca && made.checkHost('web.example') !== undefined);
    const out = join(directory, 'issued');
    const files = ['--cert', join(directory, 'tls.crt'), '--key', join(directory, 'tls.key'), '--out', out];
    assert.equal((await runCommand(issueCommand, files)).status, 0);
    await assert.rejects(
      runCommand(devCaCommand, ['--dns', 'web.example', '--out', directory]),
      /tls\.key exists: choose another directory/,
    );
  });

  test('makes one that strict clients accept, also of a name that is too long for a subject', async (t) => {
    for (const name of ['web.example', LONG_NAME]) {
      const directory = temporaryDirectory(t);
      await runCommand(devCaCommand, ['--dns', name, '--out', directory]);
      verifyStrictly(join(directory, 'ca.crt'), join(directory, 'tls.crt'));
    }
  });

  test('takes either a Secret or a folder, and a life that makes sense', async (t) => {
    const out = temporaryDirectory(t);
    for (const argv of [
      ['--dns', 'web.example'],
      ['--dns', 'web.example', '--out', out, '--secret', 'web-tls'],
      ['--dns', 'web.example', '--out', out, '--lifetime', '1m'],
      ['--dns', 'web.example', '--out', out, '--lifetime', '99999h'],
    ]) {
      await assert.rejects(runCommand(devCaCommand, argv), { code: 'Usage' });
    }
  });
});

const NAME = ['--dns', 'web.example'];
/** A key for tests alone. */
const EXPLICIT_KEY = new URL('../credential/cases/leaf-key/explicit.key', import.meta.url);
const LONG_NAME = `${'a'.repeat(60)}.example`;

/** By RFC 5280 to the letter, as OpenSSL has it. */
function verifyStrictly(ca: string, certificate: string): void {
  execFileSync('openssl', ['verify', '-x509_strict', '-CAfile', ca, certificate], { stdio: 'pipe' });
}
