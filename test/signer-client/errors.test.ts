/** What an operator says where something else answers at its signer's address. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import { systemClock } from '../../src/kubernetes/clock.ts';
import { SignerUnavailableError } from '../../src/signer-client/errors.ts';
import { SignerClient } from '../../src/signer-client/signer-client.ts';
import { FakeApiServer } from '../kubernetes/clients.ts';
import { ask } from '../signer/running-signer.ts';

test('the page of a proxy, with 404, is a wrong address and no missing CustomResourceDefinition', async () => {
  await using fake = await FakeApiServer.start((_request, response) => {
    response.writeHead(404, { 'content-type': 'text/html' }).end('<html>nginx</html>');
  });
  const client = new SignerClient({ connection: fake.connection(), userAgent: 'test', clock: systemClock });
  const refused: unknown = await client.sign([ask()], new AbortController().signal).catch((error: unknown) => error);
  assert.equal(fake.requests[0]?.path, '/v1/sign');
  const { message } = new SignerUnavailableError(client.server, refused);
  assert.equal(
    message,
    `the signer at ${fake.url} does not serve this call: check the address (sign 1 credential: ` +
      'expected a Kubernetes Status with HTTP status 404, found none; is there a proxy in between?)',
  );
  await client.close();
});

test('a client that is not accepted may be an operator or a virtual machine', () => {
  const cause = new ApiError('not known', { status: 401, reason: 'Unauthorized' });
  assert.equal(
    new SignerUnavailableError('https://signer.example', cause).message,
    "the signer at https://signer.example does not accept this client's certificate or token (not known)",
  );
});
