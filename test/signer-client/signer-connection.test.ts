/** The files by which a client reaches its signer: what is in them is checked before it is used, at the start and after each replacement. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { rootCertificates } from 'node:tls';
import { systemClock } from '../../src/kubernetes/clock.ts';
import { ConnectionError } from '../../src/kubernetes/connection/connection-error.ts';
import { makeDevCertificate } from '../../src/provision/dev-authority.ts';
import { type SignerConnectionOptions, signerConnection } from '../../src/signer-client/signer-connection.ts';
import { temporaryDirectory } from '../cli/run-command.ts';

const now = Math.floor(Date.now() / 1000);
const [own, other] = await Promise.all([
  makeDevCertificate({ dnsNames: ['operator.eu'], now, lifetimeSeconds: 86_400 }),
  makeDevCertificate({ dnsNames: ['operator.us'], now, lifetimeSeconds: 86_400 }),
]);
const GOOD = { caFile: own.authority, tokenFile: 'a.b.c\n', certFile: own.certificate, keyFile: own.key } as const;
type FileOption = keyof typeof GOOD;

/** Node would take the first two for no CA at all, and trust whom the world trusts. */
const WRONG: Readonly<Record<FileOption, readonly string[]>> = {
  caFile: ['', ' \n', 'not a certificate', own.key],
  tokenFile: ['two\nlines', 'bell\u0007', 'snow\u2603'],
  certFile: ['', 'garbage', other.certificate],
  keyFile: ['', 'garbage', other.key],
};

test('no content of a file but what it is named for is used', async (t) => {
  const folder = temporaryDirectory(t);
  const connect = (contents: Readonly<Record<FileOption, string>>) => {
    const files = Object.entries(contents).map(([option, content]) => {
      const path = join(folder, option);
      writeFileSync(path, content);
      return [option, path] as const;
    });
    const paths = Object.fromEntries(files) as Pick<SignerConnectionOptions, FileOption>;
    return signerConnection({ url: 'https://signer:8444', ...paths, clock: systemClock });
  };
  assert.deepEqual(await (await connect(GOOD)).credentials(), {
    headers: { authorization: 'Bearer a.b.c' },
    tls: { ca: own.authority, cert: own.certificate, key: own.key },
  });
  for (const [option, contents] of Object.entries(WRONG)) {
    for (const content of contents) {
      await assert.rejects(connect({ ...GOOD, [option]: content }), (error) => {
        assert.ok(error instanceof ConnectionError, `${option}: ${JSON.stringify(content)}`);
        assert.ok(error.message.startsWith('expected ') && error.message.includes(join(folder, option)), error.message);
        assert.ok(option !== 'tokenFile' || !error.message.includes(content), 'a token is never shown');
        return true;
      });
    }
  }
});

test('a new CA beside the old one counts, or the file is refused with the line to correct', async (t) => {
  const folder = temporaryDirectory(t);
  const [caFile, tokenFile] = [join(folder, 'ca.crt'), join(folder, 'token')];
  writeFileSync(tokenFile, 'token');
  const connect = async (ca: string) => {
    writeFileSync(caFile, ca);
    const connection = await signerConnection({ url: 'https://signer:8444', caFile, tokenFile, clock: systemClock });
    return (await connection.credentials()).tls.ca;
  };
  const [first, second] = [own.authority, other.authority];
  const lines = first.trimEnd().split('\n').length;
  for (const [added, why] of [
    [second.replace(/^/gm, '  '), `is not at the beginning of line ${lines + 1}: remove`],
    [`"${second}"`, `is not at the beginning of line ${lines + 1}: remove`],
    [`ca: ${second}`, `is not at the beginning of line ${lines + 1}: remove`],
    [second.replace('\n', '\n\n'), `line ${lines + 2}, inside the PEM block CERTIFICATE (block 2), is blank`],
    [second.replace(/^M/m, 'N'), 'certificate 2 of 2 is not an X.509 certificate'],
  ] as const) {
    await assert.rejects(connect(`${first}${added}`), (error: Error) => error.message.includes(why));
  }
  const glued = `${first.trimEnd()}${second}`;
  await assert.rejects(connect(glued), new RegExp(`line ${lines} ends a PEM block and begins another`));
  // What `openssl x509 -text` writes, and bundles with a comment before each: the system's has some 150 CAs.
  const bundle = [first, ...rootCertificates].map(
    (pem, position) => `# CA ${position}\n  Version: 3 (0x2)\n\n${pem}\n`,
  );
  assert.equal(await connect(bundle.join('')), bundle.join(''));
});

test('a CA that is replaced by an empty file does not make the client trust the system instead', async (t) => {
  const folder = temporaryDirectory(t);
  const [caFile, tokenFile] = [join(folder, 'ca.crt'), join(folder, 'token')];
  writeFileSync(caFile, own.authority);
  writeFileSync(tokenFile, 'first');
  const connection = await signerConnection({ url: 'https://signer:8444', caFile, tokenFile, clock: systemClock });
  const before = await connection.credentials();
  writeFileSync(caFile, '');
  await assert.rejects(
    connection.credentials(before),
    /^ConnectionError: expected the certificates of authorities, in PEM, in /,
  );
});

test('a file of more than a mebibyte is not read', async (t) => {
  const tokenFile = join(temporaryDirectory(t), 'token');
  writeFileSync(tokenFile, 'a'.repeat(1024 * 1024 + 1));
  await assert.rejects(
    signerConnection({ url: 'https://signer:8444', tokenFile, clock: systemClock }),
    /^ConnectionError: cannot read a file .* has more than 1048576 bytes$/,
  );
});
