/** What a hostile client may send to a signer: bodies, names, numbers, certificates and tokens that can be read in two ways. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { verifyCredential } from '../../src/credential/verify.ts';
import {
  formatSignCall,
  ProtocolError,
  parseFollowCall,
  parseSignCall,
  parseWithdrawalsCall,
  readFollowAnswer,
  type SignRequest,
} from '../../src/signer/protocol.ts';
import { DNS_LABEL_PATTERN, DNS_SUBDOMAIN_PATTERN } from '../../src/text/dns-name.ts';
import { createTestAuthority } from '../../testing/support/certificates.ts';
import { verifyLogText } from './audit-text.ts';
import { ask, call, certificate, EU, ISSUER, NOW, serving, sign, start, token, tokens } from './running-signer.ts';

const CALLS = [parseSignCall, parseFollowCall, parseWithdrawalsCall] as const;
const MARK = 'quoted-nowhere';

/** Refused with what was expected, in a short message that quotes nothing that was sent. */
function assertRefused(parse: (body: string) => unknown, body: string): void {
  assert.throws(
    () => parse(body),
    (error) => {
      assert.ok(error instanceof ProtocolError, String(error));
      assert.ok(error.message.length < 300, error.message);
      assert.ok(!error.message.includes(MARK), error.message);
      assert.match(error.message, /^[\x20-\x7e]*$/);
      return true;
    },
    body.slice(0, 100),
  );
}

describe('a body', () => {
  const good = JSON.parse(formatSignCall([ask()])) as { requests: [Record<string, unknown>] };
  const [fields] = good.requests;
  const withField = (name: string, json: string) =>
    JSON.stringify({ requests: [{ ...fields, [name]: MARK }] }).replace(`"${MARK}"`, json);

  test('of any JSON is a call or refused, and is never quoted', () => {
    fc.assert(
      fc.property(fc.constantFrom(...CALLS), fc.json({ maxDepth: 6 }), (parse, body) => {
        try {
          parse(body);
        } catch {
          assertRefused(parse, body);
        }
      }),
    );
  });

  test('with a field of another type, or a number that is none, is refused', () => {
    const json = fc.constantFrom(
      'null',
      'true',
      '[]',
      '{}',
      '""',
      '-1',
      '1.5',
      '1e308',
      '1e400',
      '-0.1',
      '9007199254740993',
      `"${MARK}\\u0000"`,
      `["${MARK}"]`,
      `{"${MARK}":1}`,
      `"${'A'.repeat(5_000)}"`,
    );
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(fields)), json, (name, value) => {
        const body = withField(name, value);
        // Names of pods, resources and namespaces may be any text: they are only logged and compared with grants.
        const isName = ['namespace', 'resource', 'podUid'].includes(name);
        const isText = value.startsWith('"') && value !== '""' && value.length < 253;
        if (!(isName && isText)) assertRefused(parseSignCall, body);
      }),
    );
  });

  test('that is nested 400,000 deep, inside a call or in an unknown field, ends no process', () => {
    const deep = `${'['.repeat(400_000)}${']'.repeat(400_000)}`;
    for (const parse of CALLS) assertRefused(parse, deep);
    assertRefused(parseSignCall, withField('certificate', deep));
    assert.equal(parseSignCall(withField('unknown', deep)).length, 1);
  });

  test('with a duplicate field is signed and logged with the same value', async (t) => {
    const { auditLog, port } = await start(t);
    const twice = JSON.stringify(good).replace('"namespace":"edge"', '"namespace":"shop","namespace":"edge"');
    const other = JSON.stringify(good).replace('"namespace":"edge"', '"namespace":"edge","namespace":"shop"');
    for (const [body, namespace, event] of [
      [twice, 'edge', 'signed'],
      [other, 'shop', 'refused'],
    ] as const) {
      await call(port, EU, '/v1/sign', body);
      const entry = JSON.parse(readFileSync(auditLog, 'utf8').trim().split('\n').at(-1) ?? '');
      assert.deepEqual([entry.namespace, entry.event], [namespace, event]);
    }
    const polluted = JSON.stringify(good).replace('{"requests"', '{"__proto__":{"namespace":"edge"},"requests"');
    assert.equal((await call(port, EU, '/v1/sign', polluted)).status, 200);
    assert.equal(({} as { namespace?: string }).namespace, undefined);
  });

  test('that names a certificate twice for a namespace is refused: each would have an answer of its own', () => {
    const one = { certificate: 'vault/web-tls', namespace: 'edge' };
    const follow = (...known: readonly object[]) => JSON.stringify({ known, waitSeconds: 0 });
    assert.equal(parseFollowCall(follow(one, { ...one, namespace: 'shop' })).known.length, 2);
    assertRefused(parseFollowCall, follow(one, { ...one, version: 'other' }));
    assertRefused(parseFollowCall, follow(...Array.from({ length: 500 }, () => one)));
  });

  test('with names of any characters leaves one line of ASCII each in the log, and the chain holds', async (t) => {
    const { auditLog, port } = await start(t);
    const names = ['\n', '\r\n{"event":"signed"}', '"', '\\', '\u2028', '\u202e', '\ud800', '\u{1f512}', '\0', 'é'];
    const requests: readonly SignRequest[] = [...names, '\u{10ffff}'.repeat(126)].map((name) =>
      ask({ resource: name, podUid: name }),
    );
    const { body, status } = await sign(port, EU, ...requests);
    assert.equal(status, 200);
    assert.ok(body.results?.every(({ ok }) => ok));
    const text = readFileSync(auditLog, 'utf8');
    assert.match(text, /^[\x20-\x7e\n]*$/);
    assert.deepEqual(verifyLogText(text), { ok: true, lines: requests.length });
    const logged = text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).podUid);
    assert.deepEqual(new Set(logged), new Set(requests.map(({ podUid }) => podUid)));
  });

  test('that never ends holds up no other client', async (t) => {
    const { port } = await start(t);
    const slow = Array.from({ length: 20 }, () => {
      const sent = request({
        host: '127.0.0.1',
        port,
        path: '/v1/sign',
        method: 'POST',
        agent: false,
        servername: 'signer.vault.svc',
        ca: serving.authority,
        cert: EU.cert,
        key: EU.key,
      });
      sent.on('error', () => {});
      sent.write('{"requests":[');
      return sent;
    });
    assert.equal((await sign(port, EU, ask())).status, 200);
    for (const sent of slow) sent.destroy();
  });
});

test('whatever name a tenant may refer to, no call with it is refused as a whole', () => {
  const text = (pattern: string, maxLength: number) =>
    fc.stringMatching(new RegExp(pattern), { maxLength }).filter((name) => name !== '' && name.length <= maxLength);
  const namespaces = fc.oneof(fc.constant('n'.repeat(63)), text(DNS_LABEL_PATTERN, 63));
  const names = fc.oneof(fc.constant('s'.repeat(253)), text(DNS_SUBDOMAIN_PATTERN, 253));
  fc.assert(
    fc.property(namespaces, names, (namespace, name) => {
      const certificate = `${namespace}/${name}`;
      const use = { certificate, usage: 'Server', namespace, leafSha256: '0'.repeat(64) };
      assert.equal(parseSignCall(formatSignCall([ask({ certificate, namespace })])).length, 1);
      assert.equal(parseFollowCall(JSON.stringify({ known: [{ certificate, namespace }] })).known.length, 1);
      assert.equal(parseWithdrawalsCall(JSON.stringify({ uses: [use] })).length, 1);
    }),
  );
});

test('what a client accepts of any signer is what it may send to the next one', () => {
  const text = fc.string({ maxLength: 300, unit: fc.constantFrom('a', 'shop', '/', '.', 'A', '\0') });
  fc.assert(
    fc.property(text, text, text, (name, namespace, version) => {
      const news = { certificate: `a${name}`, namespace, version };
      const accepted = readFollowAnswer({ certificates: [news] });
      if (accepted !== undefined) assert.deepEqual(parseFollowCall(JSON.stringify({ known: accepted })).known, [news]);
    }),
    {
      examples: [
        ['', 'edge', 'a'.repeat(64)],
        ['', 'edge', 'a'.repeat(65)],
        ['', 'edge', ''],
      ],
    },
  );
});

describe('a client certificate', () => {
  test('whose names only look like those of a client is refused as a stranger’s', async (t) => {
    const authority = await createTestAuthority();
    const { port } = await start(t, {}, authority.certificatePem);
    const statusFor = async (...dnsNames: readonly string[]) => {
      const { certificatePem: cert, keyPem } = await authority.issue({ dnsNames });
      return (await sign(port, { cert, key: keyPem }, ask())).status;
    };
    assert.equal(await statusFor('other.eu', 'operator.eu'), 200);
    for (const names of [
      ['x, DNS:operator.eu, DNS:y'],
      ['x", DNS:operator.eu, DNS:"y'],
      ['operator.eu\0.attacker.example'],
      ['*.eu'],
      ['operator.eu.attacker.example'],
      ['attacker.example/operator.eu'],
      // The first name is also the subject's common name, which is not a client's name.
      ['other.eu'],
    ]) {
      assert.equal(await statusFor(...names), 401, JSON.stringify(names));
    }
  });
});

describe('a token', () => {
  test('that is not exactly what its issuer signs for the signer is refused as a stranger’s', async (t) => {
    const { port } = await start(t);
    const statusOf = async (bearer: string) => (await sign(port, { token: bearer }, ask())).status;
    assert.equal(await statusOf(await token({}, undefined, { kid: 'one' })), 200);
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    const [header = '', payload = '', signature = ''] = (await token()).split('.');
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const raw = tokens.publicKey.export({ format: 'pem', type: 'spki' }).toString();
    const { createHmac } = await import('node:crypto');
    const hmac = `${encode({ alg: 'HS256' })}.${payload}`;
    const { publicKey: ownPublic, privateKey: own } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    for (const [what, wrong] of [
      ["another issuer's key under the same kid", await token({}, other, { kid: 'one' })],
      ['an unknown kid', await token({}, undefined, { kid: 'two' })],
      ['no signature', `${encode({ alg: 'none' })}.${payload}.`],
      ['no signature, with the rest of another', `${encode({ alg: 'None' })}.${payload}.${signature}`],
      ['the public key as a secret', `${hmac}.${createHmac('sha256', raw).update(hmac).digest('base64url')}`],
      ['its own key in its header', await token({}, own, { jwk: ownPublic.export({ format: 'jwk' }) as object })],
      ['a critical header that is not known', `${encode({ alg: 'ES256', crit: ['x'], x: 1 })}.${payload}.${signature}`],
      ['not yet valid', await token({ nbf: NOW + 3_600 })],
      ['no expiry', await token({ exp: undefined })],
      ['an expiry that is not a number', await token({ exp: 'never' as unknown as number })],
      ['no account', await token({ sub: undefined })],
      ['an account that is not a string', await token({ sub: ['system:serviceaccount:dcred-system:dcred'] })],
      ['several accounts', await token({ sub: 'system:serviceaccount:dcred-system:dcred:dcred' })],
      ['an additional audience', await token({ aud: ['dcred-signer.example', 'api'] })],
      ['an issuer that is not a string', await token({ iss: [ISSUER] })],
      ['an issuer with a slash', await token({ iss: `${ISSUER}/` })],
      ['the payload of another token', `${header}.${encode({ iss: ISSUER, aud: 'dcred-signer' })}.${signature}`],
      ['15 KiB', `${header}.${'A'.repeat(15_000)}.${signature}`],
      ['17 KiB', 'a'.repeat(17_000)],
      ['dots', '...'],
    ] as const) {
      assert.equal(await statusOf(wrong), 401, what);
    }
  });

  test('with the signer among several audiences is accepted, and a client with a certificate needs none', async (t) => {
    const { port } = await start(t);
    const bearer = await token({ aud: ['api', 'dcred-signer'] });
    assert.equal((await sign(port, { token: bearer }, ask())).status, 200);
    const { body } = await sign(port, { ...EU, token: 'bad' }, ask());
    const [result] = body.results ?? [];
    assert.ok(result?.ok);
    const bytes = Buffer.from(result.credential, 'base64');
    assert.equal(verifyCredential({ bytes, certificate, usage: 'Server', now: NOW }).ok, true);
  });
});
