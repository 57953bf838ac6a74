/** Keys in AWS KMS: moto's, and in front of it a fake that answers what moto never does. */

import assert from 'node:assert/strict';
import { createHash, createPublicKey } from 'node:crypto';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import {
  CreateAliasCommand,
  CreateKeyCommand,
  GetPublicKeyCommand,
  KMSClient,
  UpdateAliasCommand,
} from '@aws-sdk/client-kms';
import { verifyWithNode } from '../../src/credential/signature.ts';
import { AwsKmsKey } from '../../src/keys/awskms/aws-kms-key.ts';
import { awsCredentials } from '../../src/keys/awskms/credentials.ts';
import { kmsError } from '../../src/keys/awskms/kms-error.ts';
import type { KeyResult } from '../../src/keys/guarded-key.ts';
import { KeyOpener } from '../../src/keys/key-opener.ts';
import { parseKeyUri } from '../../src/keys/key-uri.ts';
import { type Clock, systemClock } from '../../src/kubernetes/clock.ts';
import { FaultyAws, findMoto, type MotoServer } from '../../testing/keys/moto.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';
import { eventually } from '../../testing/support/processes.ts';
import { temporaryDirectory } from '../cli/run-command.ts';

const moto = await findMoto();
const skip = moto.available || process.env['CI'] === 'true' ? false : moto.reason;
const never = new AbortController().signal;
const STATIC = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'S3CRET' };

describe('a key in AWS KMS', { skip }, () => {
  let server: MotoServer;
  let aws: FaultyAws;
  let admin: KMSClient;

  before(async () => {
    assert.ok(moto.available, 'moto');
    server = await moto.start();
    aws = await FaultyAws.start(server.url);
    admin = new KMSClient({
      region: 'eu-west-1',
      endpoint: server.url,
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    });
  });
  after(async () => {
    admin?.destroy();
    await aws?.[Symbol.asyncDispose]();
    await server?.[Symbol.asyncDispose]();
  });

  async function createKey(spec: 'ECC_NIST_P256' | 'ECC_NIST_P384' | 'ECC_NIST_P521' | 'RSA_2048' = 'ECC_NIST_P256') {
    const { KeyMetadata } = await admin.send(new CreateKeyCommand({ KeySpec: spec, KeyUsage: 'SIGN_VERIFY' }));
    const { Arn: arn = '', KeyId: id = '' } = KeyMetadata ?? {};
    const { PublicKey } = await admin.send(new GetPublicKeyCommand({ KeyId: id }));
    const publicKey = createPublicKey({ key: Buffer.from(PublicKey ?? []), format: 'der', type: 'spki' });
    const keyAlgorithm = (
      {
        ECC_NIST_P256: 'ECDSAP256',
        ECC_NIST_P384: 'ECDSAP384',
        ECC_NIST_P521: 'ECDSAP521',
        RSA_2048: undefined,
      } as const
    )[spec];
    return { id, arn, certificate: { keyAlgorithm, publicKey, subject: 'CN=web.example' } };
  }

  type Certificate = Awaited<ReturnType<typeof createKey>>['certificate'];

  async function open(
    name: string,
    certificate: Certificate | undefined,
    env: object = STATIC,
    results: KeyResult[] = [],
    clock: Clock = systemClock,
  ) {
    const uri = parseKeyUri(`awskms:///${name}`);
    assert.ok(uri.scheme === 'awskms');
    const keys = new KeyOpener({
      env: { AWS_REGION: 'eu-west-1', AWS_ENDPOINT_URL: aws.url, ...env },
      clock,
      observe: (_backend, result) => results.push(result),
    });
    return await keys.open(uri, certificate, never);
  }

  for (const spec of ['ECC_NIST_P256', 'ECC_NIST_P384', 'ECC_NIST_P521'] as const) {
    test(`signs as the certificate's key: ${spec}`, async () => {
      const { arn, certificate } = await createKey(spec);
      const key = await open(arn, certificate, { ...STATIC, AWS_REGION: '' });
      const messages = Array.from({ length: 10 }, (_, index) => Buffer.from(`message ${index}`));
      const signatures = await Promise.all(messages.map((message) => key.sign(message)));
      for (const [index, signature] of signatures.entries()) {
        const message = messages[index] ?? Buffer.alloc(0);
        assert.ok(verifyWithNode({ scheme: key.scheme, publicKey: certificate.publicKey, message, signature }));
      }
      await key.close();
    });
  }

  test('an alias that is moved leaves an open key as it is, and gives the new key when it is opened again', async () => {
    const [first, second] = [await createKey(), await createKey()];
    await admin.send(new CreateAliasCommand({ AliasName: 'alias/web', TargetKeyId: first.id }));
    const key = await open('alias/web', first.certificate);
    await admin.send(new UpdateAliasCommand({ AliasName: 'alias/web', TargetKeyId: second.id }));
    await key.sign(Buffer.from('message'));
    await key.close();
    await assert.rejects(open('alias/web', first.certificate), { code: 'KeyMismatch' });
    await (await open('alias/web', second.certificate)).close();
  });

  test('signs with a web identity', async (t) => {
    const { certificate, id } = await createKey();
    const token = join(temporaryDirectory(t), 'token');
    writeFileSync(token, 'header.payload.signature');
    const before = aws.calls.get('Sts') ?? 0;
    const key = await open(id, certificate, {
      AWS_ROLE_ARN: 'arn:aws:iam::123456789012:role/dcred',
      AWS_WEB_IDENTITY_TOKEN_FILE: token,
    });
    await key.sign(Buffer.from('message'));
    assert.equal(aws.calls.get('Sts'), before + 1);
    await key.close();
  });

  test('credentials that expired early are fetched again, once for all calls, and the key is not proved again', async (t) => {
    const { certificate, id } = await createKey();
    const token = join(temporaryDirectory(t), 'token');
    writeFileSync(token, 'header.payload.signature');
    const key = await open(id, certificate, {
      AWS_ROLE_ARN: 'arn:aws:iam::123456789012:role/dcred',
      AWS_WEB_IDENTITY_TOKEN_FILE: token,
    });
    const [logins, signatures] = [aws.calls.get('Sts') ?? 0, aws.calls.get('Sign') ?? 0];
    aws.faults.set('Sign', { status: 400, type: 'ExpiredTokenException', times: 3 });
    await Promise.all(['one', 'two', 'three'].map((text) => key.sign(Buffer.from(text))));
    assert.equal(aws.calls.get('Sts'), logins + 1);
    assert.equal(aws.calls.get('Sign'), signatures + 6, 'three that were refused, and three signatures');
    await key.close();
  });

  test('credentials that nobody gives hold up no caller that gives up, and no later one', async (t) => {
    let asked = 0;
    let silent = false;
    const agent = createServer((_, response) => {
      asked += 1;
      if (silent) return;
      const expires = new Date(Date.now() + 3_600_000).toISOString();
      response.end(JSON.stringify({ AccessKeyId: 'a', SecretAccessKey: 'S3CRET', Token: 't', Expiration: expires }));
    });
    await new Promise<void>((resolve) => agent.listen(0, '127.0.0.1', resolve));
    t.after(() => {
      agent.closeAllConnections();
      agent.close();
    });
    const { certificate, id } = await createKey();
    const env = { AWS_CONTAINER_CREDENTIALS_FULL_URI: `http://127.0.0.1:${(agent.address() as AddressInfo).port}/` };
    const clock = new FakeClock();
    const key = await open(id, certificate, env, [], clock);
    assert.equal(asked, 1);
    aws.faults.set('Sign', { status: 400, type: 'ExpiredTokenException', times: 2 });
    silent = true;
    const stop = new AbortController();
    const signing = key.sign(Buffer.from('one'), { signal: stop.signal });
    while (asked < 2) await new Promise((resolve) => setImmediate(resolve));
    stop.abort(new Error('given up'));
    await assert.rejects(signing, /given up/);
    silent = false;
    await clock.advanceAsync(10_000);
    await key.sign(Buffer.from('two'));
    assert.equal(asked, 3);
    await key.close();
  });

  test('throttling costs one repeated call, and no other', async () => {
    const { certificate, id } = await createKey();
    const key = await open(id, certificate);
    const before = aws.calls.get('Sign') ?? 0;
    aws.faults.set('Sign', { status: 400, type: 'ThrottlingException', times: 1 });
    await key.sign(Buffer.from('message'));
    assert.equal(aws.calls.get('Sign'), before + 2);
    await key.close();
  });

  for (const [what, fault] of [
    ['throttling', { status: 400, type: 'ThrottlingException' }],
    ['a fault of the service', { status: 500, type: 'KMSInternalException' }],
    ['a key that is not available yet', { status: 500, type: 'KeyUnavailableException' }],
    ['a connection that is cut', { status: 0, type: undefined }],
  ] as const) {
    test(`${what} is retried until it passes`, async () => {
      const { certificate, id } = await createKey();
      const results: KeyResult[] = [];
      const key = await open(id, certificate, STATIC, results);
      aws.faults.set('Sign', fault);
      const signing = Promise.all([key.sign(Buffer.from('one')), key.sign(Buffer.from('two'))]);
      while (!results.includes('KeyUnavailable')) await new Promise((resolve) => setImmediate(resolve));
      aws.faults.delete('Sign');
      await signing;
      await key.close();
    });
  }

  for (const [type, code] of [
    ['DisabledException', 'KeyUnusable'],
    ['KMSInvalidStateException', 'KeyUnusable'],
    ['AccessDeniedException', 'KeyDenied'],
    ['ExpiredTokenException', 'KeyDenied'],
  ] as const) {
    test(`${type} fails at once, and says what to do`, async () => {
      const { certificate, id } = await createKey();
      const key = await open(id, certificate);
      aws.faults.set('Sign', { status: 400, type });
      const before = aws.calls.get('Sign') ?? 0;
      await assert.rejects(key.sign(Buffer.from('message')), (error: Error) => {
        assert.match(error.message, new RegExp(`awskms:///${id}: failed to sign: .*${type}`));
        assert.doesNotMatch(error.message, /never repeated|S3CRET/);
        assert.equal((error as { code?: string }).code, code);
        return true;
      });
      assert.equal(aws.calls.get('Sign'), before + 1);
      aws.faults.delete('Sign');
      await key.close();
    });
  }

  test('a message that is too long for KMS is sent as its hash', async () => {
    const { certificate, id } = await createKey();
    const key = await open(id, certificate);
    const message = Buffer.alloc(4_097, 'a');
    // moto signs every message as if it were not hashed yet, so its signature does not verify and is not returned.
    await assert.rejects(key.sign(message), { code: 'KeyMismatch' });
    const { Message, MessageType } = JSON.parse(aws.bodies.get('Sign') ?? '');
    assert.deepEqual([MessageType, Message], ['DIGEST', createHash('sha256').update(message).digest('base64')]);
    await key.sign(message.subarray(1));
    await key.close();
  });

  test('another key, none, or one that browsers refuse is reported when it is opened', async () => {
    const [first, second, rsa] = [await createKey(), await createKey(), await createKey('RSA_2048')];
    await assert.rejects(open(first.id, second.certificate), {
      code: 'KeyMismatch',
      message: /does not verify against the certificate "CN=web\.example"/,
    });
    await assert.rejects(open('00000000-0000-0000-0000-000000000000', first.certificate), { code: 'KeyNotFound' });
    await assert.rejects(open(rsa.id, undefined), { code: 'KeyUnusable', message: /ECC_NIST_P256/ });
    await assert.rejects(open(first.id, undefined, {}), { code: 'KeyNotConfigured', message: /no AWS credentials/ });
    await assert.rejects(open(first.id, undefined, { ...STATIC, AWS_REGION: '' }), {
      code: 'KeyNotConfigured',
      message: /AWS_REGION/,
    });
    for (const name of ['AWS_ENDPOINT_URL', 'AWS_ENDPOINT_URL_KMS']) {
      await assert.rejects(open(first.id, undefined, { ...STATIC, [name]: 'kms.example' }), {
        code: 'KeyNotConfigured',
        message: /expected a URL/,
      });
    }
  });
});

test('an answer without end is not read on, of KMS and of STS', async (t) => {
  const answers = new Set<Promise<unknown>>();
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/x-amz-json-1.1' });
    const more = () => {
      while (response.write('x'.repeat(65_536)));
    };
    response.on('drain', more);
    answers.add(new Promise((resolve) => response.once('close', resolve)));
    more();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const token = join(temporaryDirectory(t), 'token');
  writeFileSync(token, 'header.payload.signature');
  const uri = parseKeyUri('awskms:///alias/web');
  assert.ok(uri.scheme === 'awskms');
  const identity = { AWS_ROLE_ARN: 'arn:aws:iam::123456789012:role/dcred', AWS_WEB_IDENTITY_TOKEN_FILE: token };
  for (const credentials of [STATIC, identity]) {
    const env = { AWS_REGION: 'eu-west-1', AWS_ENDPOINT_URL: url, ...credentials };
    await assert.rejects(AwsKmsKey.open({ uri, publicKey: undefined, env, clock: systemClock, signal: never }), {
      code: 'KeyUnavailable',
      message: /AWS answered with more than 1048576 bytes/,
    });
  }
  assert.equal(answers.size, 2);
  // Each connection is closed, and not only left alone.
  await Promise.all(answers);
});

for (const kind of ['STS', 'the agent of EKS Pod Identity']) {
  // Of one that fails: it then waits for a connection that it never gets.
  const options = { timeout: 30_000 };
  test(`credentials are there again when ${kind} answers, however often it did not`, options, async (t) => {
    let silent = true;
    const Expiration = new Date(Date.now() + 3_600_000).toISOString();
    const fields = { AccessKeyId: 'a', SecretAccessKey: 'S3CRET', Expiration };
    const xml = Object.entries({ ...fields, SessionToken: 't' }).map(([name, value]) => `<${name}>${value}</${name}>`);
    const namespace = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"';
    const answer =
      kind === 'STS'
        ? `<A ${namespace}><AssumeRoleWithWebIdentityResult><Credentials>${xml.join('')}</Credentials></AssumeRoleWithWebIdentityResult></A>`
        : JSON.stringify({ ...fields, Token: 't' });
    const server = createServer((request, response) => {
      request.resume();
      if (!silent) response.end(answer);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const token = join(temporaryDirectory(t), 'token');
    writeFileSync(token, 'header.payload.signature');
    const env =
      kind === 'STS'
        ? {
            AWS_ROLE_ARN: 'arn:aws:iam::123456789012:role/a',
            AWS_WEB_IDENTITY_TOKEN_FILE: token,
            AWS_ENDPOINT_URL: url,
          }
        : { AWS_CONTAINER_CREDENTIALS_FULL_URI: `${url}/credentials` };
    const credentials = awsCredentials(env, 'eu-west-1', systemClock);
    let connections = 0;
    server.on('connection', (socket) => {
      connections += 1;
      socket.once('close', () => {
        connections -= 1;
      });
    });
    t.mock.timers.enable({ apis: ['setTimeout'] });
    for (let attempt = 0; attempt < 60; attempt += 1) {
      const asked = once(server, 'request');
      const refused = assert.rejects(credentials(), { code: 'KeyUnavailable' });
      await asked;
      t.mock.timers.tick(10_000);
      await refused;
    }
    silent = false;
    assert.equal((await credentials()).accessKeyId, 'a');
    t.mock.timers.reset();
    await eventually('every other connection to be closed', async () => (connections <= 1 ? true : undefined));
  });
}

describe('the agent of EKS Pod Identity', () => {
  const expires = new Date(Math.ceil(Date.now() / 1000) * 1000 + 3_600_000);
  const ANSWER = { AccessKeyId: 'a', SecretAccessKey: 'S3CRET', Token: 't', Expiration: expires.toISOString() };

  async function agent(t: TestContext, answer: { readonly status?: number; readonly body: string }) {
    const requests: { readonly url: string | undefined; readonly authorization: string | undefined }[] = [];
    const server = createServer(({ headers, url }, response) => {
      requests.push({ url, authorization: headers.authorization });
      response.writeHead(answer.status ?? 200, { location: '/elsewhere' }).end(answer.body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    return { requests, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
  }

  test('gives credentials for the token of the service account, which is read each time', async (t) => {
    const { requests, url } = await agent(t, { body: JSON.stringify(ANSWER) });
    const token = join(temporaryDirectory(t), 'token');
    const env = {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${url}/v1/credentials?a=b`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: token,
    };
    const credentials = awsCredentials(env, 'eu-west-1', systemClock);
    for (const content of ['one', 'two\n']) {
      writeFileSync(token, content);
      const { accessKeyId, expiration, secretAccessKey, sessionToken } = await credentials();
      assert.deepEqual([accessKeyId, secretAccessKey, sessionToken, expiration], ['a', 'S3CRET', 't', expires]);
    }
    assert.deepEqual(requests, [
      { url: '/v1/credentials?a=b', authorization: 'one' },
      { url: '/v1/credentials?a=b', authorization: 'two' },
    ]);
    writeFileSync(token, 'one\r\nx-other: two');
    await assert.rejects(credentials(), {
      code: 'KeyNotConfigured',
      message: /_TOKEN_FILE: expected a token on one line/,
    });
    rmSync(token);
    await assert.rejects(credentials(), { code: 'KeyNotConfigured', message: /cannot read the token .*: ENOENT/ });
    assert.equal(requests.length, 2);
  });

  test('is tried again whatever it answers, and nothing of that is repeated', async (t) => {
    const bodies = [
      '',
      'S3CRET',
      'null',
      JSON.stringify({ ...ANSWER, Expiration: 'soon' }),
      JSON.stringify({ ...ANSWER, SecretAccessKey: undefined }),
      JSON.stringify({ ...ANSWER, Token: 'S3CRET'.repeat(100_000) }),
    ];
    for (const answer of [
      ...bodies.map((body) => ({ body })),
      ...[302, 400, 404, 500].map((status) => ({ status, body: JSON.stringify(ANSWER) })),
    ]) {
      const { requests, url } = await agent(t, answer);
      const credentials = awsCredentials({ AWS_CONTAINER_CREDENTIALS_FULL_URI: url }, 'eu-west-1', systemClock);
      await assert.rejects(credentials(), (error: Error) => {
        assert.equal((error as { readonly code?: string }).code, 'KeyUnavailable', error.message);
        assert.match(error.message, /^the agent at AWS_CONTAINER_CREDENTIALS_FULL_URI gave no AWS credentials: /);
        assert.doesNotMatch(`${error.message} ${error.stack}`, /S3CRET/);
        return true;
      });
      assert.equal(requests.length, 1, 'no redirect is followed');
    }
  });

  test('is on this machine, or reached by HTTPS', () => {
    const refused = [
      'http://example.com/',
      'http://10.0.0.1/',
      'http://127.0.0.1.example/',
      'file:///x',
      'x',
      'http://[::2]/',
    ];
    for (const uri of refused) {
      assert.throws(() => awsCredentials({ AWS_CONTAINER_CREDENTIALS_FULL_URI: uri }, 'eu-west-1', systemClock), {
        code: 'KeyNotConfigured',
      });
    }
    const accepted = [
      'http://169.254.170.23/v1/credentials',
      'http://[fd00:ec2::23]/v1/credentials',
      'http://169.254.170.2/v2/a',
      'http://localhost:1/',
      'http://[::1]/',
      'https://agent.example/',
    ];
    for (const uri of accepted) awsCredentials({ AWS_CONTAINER_CREDENTIALS_FULL_URI: uri }, 'eu-west-1', systemClock);
  });
});

test('an error of another kind is a plain sentence, and its text is not repeated', () => {
  const network = kmsError('sign', Object.assign(new Error('S3CRET'), { code: 'ECONNRESET' }));
  assert.deepEqual([network.code, network.message.includes('S3CRET')], ['KeyUnavailable', false]);
  const refused = kmsError(
    'sign',
    Object.assign(new Error('S3CRET'), { name: 'ValidationException', $metadata: { httpStatusCode: 400 } }),
  );
  assert.deepEqual([refused.code, refused.message.includes('S3CRET')], ['KeyUnusable', false]);
  assert.equal(kmsError('sign', 'a string').code, 'KeyUnavailable');
  assert.equal(kmsError('sign', undefined).code, 'KeyUnavailable');
});
