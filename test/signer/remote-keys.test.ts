/** Certificates whose key is kept elsewhere: opened by the signer's own configuration, and by nothing that is in a Secret. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { signerFromPem } from '../../src/credential/signer.ts';
import { KeyError } from '../../src/keys/key-error.ts';
import {
  type CertificateLocation,
  CertificateSource,
  type OpenRemoteKey,
} from '../../src/signer/certificate-source.ts';
import { parseSignerConfig } from '../../src/signer/config.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';
import { leaf } from '../../testing/support/openssl.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';
import { temporaryDirectory } from '../cli/run-command.ts';

const never = new AbortController().signal;
const URIS = ['awskms:///alias/web', 'hashivault://web', 'pkcs11:object=a?module-path=/x.so', 'file:/etc/passwd'];

function folderOf(t: TestContext, files: Readonly<Record<string, string>>): string {
  const directory = join(temporaryDirectory(t), 'web-tls');
  mkdirSync(directory);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content);
  return directory;
}

function sourceOf(folder: Omit<CertificateLocation, 'name'>, openRemoteKey: OpenRemoteKey) {
  const locations = [{ name: 'vault/web-tls', ...folder }];
  return new CertificateSource({ locations, openRemoteKey, clock: new FakeClock(), log: recordingLogger() });
}

const config = (key: string) => ({
  clients: [{ name: 'eu', cluster: 'eu', tlsName: 'operator.eu' }],
  certificates: [{ name: 'vault/web-tls', directory: '/etc/dcred/web-tls', key }],
  grants: [],
});

describe('a key URI', () => {
  test('of the configuration opens the key, and another certificate opens it again', async (t) => {
    const [first, second] = [leaf(), leaf()];
    const directory = folderOf(t, { 'tls.crt': first.certificatePem });
    const closed: string[] = [];
    const opened: string[] = [];
    const [certificate] = parseSignerConfig({ ...config('awskms:///alias/web') }).certificates;
    const source = sourceOf({ directory, key: certificate?.key }, async (uri, { sha256 }) => {
      opened.push(`${uri.scheme} ${sha256}`);
      return { ...signerFromPem(first.keyPem), close: async () => void closed.push(sha256) };
    });
    await source.refresh(never);
    const before = source.get('vault/web-tls')?.certificate.sha256 ?? '';
    await source.refresh(never);
    assert.deepEqual(opened, [`awskms ${before}`], 'an unchanged certificate is not opened again');
    writeFileSync(join(directory, 'tls.crt'), second.certificatePem);
    await source.refresh(never);
    assert.equal(opened.length, 2);
    assert.deepEqual(closed, [before]);
    await source.close();
    assert.equal(closed.length, 2);
  });

  test('that cannot be opened leaves the last good key in use, and is reported', async (t) => {
    const made = leaf();
    const directory = folderOf(t, { 'tls.crt': made.certificatePem });
    let fails = true;
    const source = sourceOf({ directory, key: { scheme: 'hashivault', keyName: 'web' } }, async () => {
      if (fails) throw new KeyError('KeyUnavailable', 'hashivault://web: Vault is sealed');
      return signerFromPem(made.keyPem);
    });
    await source.refresh(never);
    assert.match(source.problem ?? '', /Vault is sealed/);
    fails = false;
    await source.refresh(never);
    assert.equal(source.problem, undefined);
    fails = true;
    writeFileSync(join(directory, 'tls.crt'), leaf().certificatePem);
    await source.refresh(never);
    assert.ok(source.get('vault/web-tls'));
  });

  test('of a file that is a pipe opens nothing, and waits for no writer', async (t) => {
    const directory = folderOf(t, { 'tls.crt': leaf().certificatePem });
    const path = join(directory, 'tls.key');
    execFileSync('mkfifo', [path]);
    const source = sourceOf({ directory, key: { scheme: 'file', path } }, () => assert.fail('opened'));
    await source.refresh(never);
    assert.match(source.problem ?? '', /tls\.key is not a regular file/);
  });

  test('without a folder has its certificate in a ConfigMap, and no Secret is read', async () => {
    const made = leaf();
    const [location] = parseSignerConfig({
      ...config(''),
      certificates: [{ name: 'vault/web-tls', key: 'hashivault://web' }],
    }).certificates;
    assert.deepEqual(location, {
      name: 'vault/web-tls',
      directory: undefined,
      key: { scheme: 'hashivault', keyName: 'web' },
    });
    let chainPem = made.certificatePem;
    const source = new CertificateSource({
      locations: [location],
      openRemoteKey: async () => signerFromPem(made.keyPem),
      objects: { readSecret: () => assert.fail('a Secret was read'), readConfigMap: async () => chainPem },
      clock: new FakeClock(),
      log: recordingLogger(),
    });
    await source.refresh(never);
    const before = source.get('vault/web-tls')?.certificate.sha256;
    assert.ok(before);
    chainPem = leaf().certificatePem;
    await source.refresh(never);
    assert.notEqual(source.get('vault/web-tls')?.certificate.sha256, before, 'another one is used without a restart');
    const unnamed = { ...config(''), certificates: [{ name: 'web-tls', key: 'hashivault://web' }] };
    assert.throws(() => parseSignerConfig(unnamed), { code: 'SignerConfig', message: /must be NAMESPACE\/NAME/ });
  });

  test('in tls.key of a Secret is an unreadable key, and opens nothing', async (t) => {
    for (const uri of URIS) {
      assert.throws(() => signerFromPem(uri), { code: 'CertificateInvalid' });
      const directory = folderOf(t, { 'tls.crt': leaf().certificatePem, 'tls.key': uri, key: uri });
      const source = sourceOf({ directory }, () => assert.fail('opened'));
      await source.refresh(never);
      assert.match(source.problem ?? '', /private key cannot be read/);
    }
  });

  test('that is wrong is an error of the configuration, without its PIN', () => {
    for (const uri of ['web.key', 'awskm:///x', 'pkcs11:object=a?pin-value=S3CRET']) {
      assert.throws(
        () => parseSignerConfig(config(uri)),
        (error: Error & { code?: string }) => {
          assert.equal(error.code, 'SignerConfig');
          assert.match(error.message, /certificates: the key of "vault\/web-tls"/);
          assert.doesNotMatch(error.message, /S3CRET/);
          return true;
        },
      );
    }
  });
});
