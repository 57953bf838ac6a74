/** `dcred dev-ca --secret` on a real API server. */

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { devCaCommand } from '../../src/cli/credential/dev-ca.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { runCommand, temporaryDirectory } from '../cli/run-command.ts';

test('the certificate goes straight into a Secret, and never over an existing one', async (t) => {
  await using plane = await startControlPlane({});
  const kubeconfig = plane.kubeconfig;
  const argv = ['--dns', 'web.example', '--secret', 'web-tls', '-n', 'default', '--kubeconfig', kubeconfig];
  const made = await runCommand(devCaCommand, argv);
  assert.equal(made.status, 0, made.stderr);
  assert.match(made.stdout, /^-----BEGIN CERTIFICATE-----/);
  assert.match(made.stderr, /created secret default\/web-tls/);
  assert.ok(!`${made.stdout}${made.stderr}`.includes('PRIVATE KEY'));

  const read = async () => JSON.parse((await plane.kubectl(['get', 'secret', 'web-tls', '-o', 'json'])).stdout);
  const secret = await read();
  assert.equal(secret.type, 'kubernetes.io/tls');
  const pem = Buffer.from(secret.data['tls.crt'], 'base64').toString();
  assert.deepEqual(readDelegationCertificate(pem).dnsNames, ['web.example']);
  const files = temporaryDirectory(t);
  await writeFile(join(files, 'ca.crt'), made.stdout);

  await assert.rejects(runCommand(devCaCommand, argv), /exists in namespace "default"/);
  assert.deepEqual(await read(), secret);
});
