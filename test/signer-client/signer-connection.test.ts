/** The files by which a client reaches its signer: what is in them is checked before it is used, at the start and after each replacement. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
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
