import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import { decideGrant } from '../../../src/grant/decide.ts';
import { OWN } from '../../../src/operator/core/access.ts';
import {
  type CertificateReason,
  type CertificateSecret,
  type CertificateState,
  latestExpiry,
  nextStateChange,
  PENDING,
  readCertificateSecret,
  refused,
  stateAt,
  stateFor,
  UNSEEN,
} from '../../../src/operator/core/certificate-state.ts';
import { grant } from '../../../testing/support/builders.ts';
import { convert, type Leaf, leaf } from '../../../testing/support/openssl.ts';

const signal = new AbortController().signal;
let good: Leaf;
let other: Leaf;

before(() => {
  good = leaf();
  other = leaf();
});

const base64 = (text: string) => Buffer.from(text).toString('base64');
const encode = (data: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(data).map(([key, text]) => [key, base64(text)]));

function read(data: Readonly<Record<string, string>> | undefined, name = 'web-tls'): Promise<CertificateState> {
  return readCertificateSecret(data && { metadata: {}, data: encode(data) }, name, signal);
}

const tls = ({ certificatePem, keyPem }: Leaf) => ({ 'tls.crt': certificatePem, 'tls.key': keyPem });

async function usable(
  data: Readonly<Record<string, string>> = tls(good),
): Promise<Extract<CertificateState, { kind: 'usable' }>> {
  const state = await read(data);
  assert.ok(state.kind === 'usable', JSON.stringify(state));
  return state;
}

describe('a certificate Secret is usable', () => {
  for (const key of ['P-256', 'P-384', 'P-521'] as const) {
    test(`with a ${key} key`, async () => {
      const { certificate } = await usable(tls(leaf({ key })));
      assert.deepEqual(certificate.dnsNames, ['web.example', '*.web.example']);
    });
  }

  test('with a key in SEC1, as cert-manager may write it', async () => {
    const sec1 = convert(good.keyPem, 'ec', '-outform', 'PEM');
    assert.match(sec1, /BEGIN EC PRIVATE KEY/);
    await usable({ 'tls.crt': good.certificatePem, 'tls.key': sec1 });
  });

  test('with a chain behind the leaf, which is kept as it is', async () => {
    const chain =
      good.certificatePem + leaf({ basicConstraints: 'critical,CA:TRUE', subject: '/CN=CA' }).certificatePem;
    assert.equal((await usable({ ...tls(good), 'tls.crt': chain })).certificate.chainPem, chain);
  });

  test('with other keys beside, such as ca.crt', async () => {
    await usable({ ...tls(good), 'ca.crt': 'whatever' });
  });
});

type Refusal = readonly [
  what: string,
  data: () => Readonly<Record<string, string>> | undefined,
  reason: CertificateReason,
  /** What the message must say: what is wrong, or what to do. */
  message: RegExp,
];

const REFUSALS: readonly Refusal[] = [
  [
    'that does not exist',
    () => undefined,
    'CertificateNotFound',
    /kubectl create secret tls web-tls --cert=FILE --key=FILE/,
  ],
  ['without data', () => ({}), 'CertificateNotFound', /does not exist in this namespace: create it/],
  ['without a key', () => ({ 'tls.crt': good.certificatePem }), 'CertificateInvalid', /has no tls\.key: it needs/],
  ['without a certificate', () => ({ 'tls.key': good.keyPem }), 'CertificateInvalid', /has no tls\.crt: it needs/],
  ['with an empty certificate', () => ({ ...tls(good), 'tls.crt': '' }), 'CertificateInvalid', /has no tls\.crt/],
  [
    'with a blank certificate',
    () => ({ ...tls(good), 'tls.crt': ' \n' }),
    'CertificateInvalid',
    /the certificate is empty/,
  ],
  [
    'with garbage as a certificate',
    () => ({ ...tls(good), 'tls.crt': 'garbage' }),
    'CertificateInvalid',
    /expected "-----BEGIN CERTIFICATE-----"/,
  ],
  [
    'with a damaged certificate',
    () => ({ ...tls(good), 'tls.crt': good.certificatePem.replace(/\n[A-Za-z0-9+/]{20}/, '\nAAAAAAAAAAAAAAAAAAAA') }),
    'CertificateInvalid',
    /cannot be read|damaged|certificate/,
  ],
  [
    'with a cut certificate',
    () => ({ ...tls(good), 'tls.crt': good.certificatePem.slice(0, 200) }),
    'CertificateInvalid',
    /END CERTIFICATE|end/i,
  ],
  [
    'with the key among the certificates',
    () => ({ ...tls(good), 'tls.crt': good.certificatePem + good.keyPem }),
    'CertificateInvalid',
    /keep only the leaf and its chain/,
  ],
  [
    'with garbage as a key',
    () => ({ ...tls(good), 'tls.key': 'garbage' }),
    'CertificateInvalid',
    /expected an unencrypted EC key in PEM/,
  ],
  ['with a blank key', () => ({ ...tls(good), 'tls.key': '\n' }), 'CertificateInvalid', /private key is empty/],
  [
    'with an encrypted key',
    () => ({ ...tls(good), 'tls.key': convert(good.keyPem, 'pkey', '-aes128', '-passout', 'pass:secret') }),
    'CertificateInvalid',
    /openssl pkey -in KEY -out tls\.key/,
  ],
  [
    'with the key of another certificate',
    () => ({ ...tls(good), 'tls.key': other.keyPem }),
    'CertificateInvalid',
    /does not belong to the certificate .* beside it/,
  ],
  [
    'with a key on another curve',
    () => ({ ...tls(good), 'tls.key': leaf({ key: 'P-384' }).keyPem }),
    'CertificateInvalid',
    /the key is ECDSAP384, the certificate's is ECDSAP256/,
  ],
  [
    'with an RSA certificate',
    () => tls(leaf({ key: 'RSA' })),
    'CertificateKeyUnsupported',
    /RSA 2048; Firefox refuses .* use a certificate with an ECDSA P-256 key/,
  ],
  ['with an Ed25519 certificate', () => tls(leaf({ key: 'Ed25519' })), 'CertificateKeyUnsupported', /Firefox refuses/],
  [
    'with a certificate on secp256k1',
    () => tls(leaf({ key: 'secp256k1' })),
    'CertificateKeyUnsupported',
    /secp256k1; Firefox refuses/,
  ],
  [
    'with an RSA key',
    () => ({ ...tls(good), 'tls.key': leaf({ key: 'RSA' }).keyPem }),
    'CertificateKeyUnsupported',
    /private key is of kind rsa/,
  ],
  [
    'without DelegationUsage',
    () => tls(leaf({ delegationUsage: null })),
    'CertificateCannotDelegate',
    /-addext 1\.3\.6\.1\.4\.1\.44363\.44=ASN1:NULL/,
  ],
  [
    'with a malformed DelegationUsage',
    () => tls(leaf({ delegationUsage: 'ASN1:BOOLEAN:TRUE' })),
    'CertificateCannotDelegate',
    /not NULL/,
  ],
  [
    'with a critical DelegationUsage',
    () => tls(leaf({ delegationUsage: 'critical,ASN1:NULL' })),
    'CertificateCannotDelegate',
    /non-critical/,
  ],
  [
    'without keyUsage',
    () => tls(leaf({ keyUsage: null })),
    'CertificateCannotDelegate',
    /-addext keyUsage=critical,digitalSignature/,
  ],
  [
    'without digitalSignature',
    () => tls(leaf({ keyUsage: 'critical,keyAgreement' })),
    'CertificateCannotDelegate',
    /lacks keyUsage digitalSignature/,
  ],
  ['with a CA', () => tls(leaf({ basicConstraints: 'critical,CA:TRUE' })), 'CertificateCannotDelegate', /is a CA/],
];

describe('a certificate Secret is refused', () => {
  for (const [what, data, reason, message] of REFUSALS) {
    test(what, async () => {
      const given = data();
      const state = await read(given);
      assert.ok(state.kind === 'refused', state.kind);
      assert.equal(state.reason, reason);
      assert.match(state.message, message);
      assert.match(state.message, /^Secret "web-tls"/, 'it is named');
      const keyBody = given?.['tls.key']?.split('\n')[1];
      if (keyBody !== undefined && keyBody !== '') assert.ok(!state.message.includes(keyBody), 'no key in a message');
    });
  }
});

describe('a usable certificate at a moment', () => {
  const seconds = async () => {
    const state = await usable();
    return { state, ...state.certificate };
  };

  async function assertRefused(now: (times: { notBefore: number; notAfter: number }) => number, message: RegExp) {
    const { notAfter, notBefore, state } = await seconds();
    const at = stateAt(state, now({ notAfter, notBefore }));
    assert.ok(at.kind === 'refused');
    assert.equal(at.reason, 'CertificateInvalid');
    assert.match(at.message, message);
  }

  test('within its life is usable', async () => {
    const { notAfter, notBefore, state } = await seconds();
    for (const now of [notBefore, notBefore + 1, notAfter - 61]) assert.equal(stateAt(state, now), state);
  });

  test('before its life is refused, with when that begins', () =>
    assertRefused(({ notBefore }) => notBefore - 1, /is not valid before .*Z, and it is .*Z: wait, or use one/));

  test('after its life is refused, with when that ended', () =>
    assertRefused(({ notAfter }) => notAfter + 1, /expired at .*Z, and it is .*Z: renew it/));

  test('with less than a minute for a credential is refused', () =>
    assertRefused(
      ({ notAfter }) => notAfter - 60,
      /expires at .*Z, too soon for another credential: renew the certificate/,
    ));

  test('changes at times that are known in advance', async () => {
    const { notAfter, notBefore, state } = await seconds();
    assert.equal(nextStateChange(state, notBefore - 5), notBefore);
    assert.equal(nextStateChange(state, notBefore), notAfter - 60);
    assert.equal(nextStateChange(state, notAfter - 60), notAfter + 1);
    assert.equal(nextStateChange(state, notAfter + 1), undefined);
  });

  test('never changes at any other', async () => {
    const { notAfter, notBefore, state } = await seconds();
    const said = (now: number) => {
      const at = stateAt(state, now);
      return at.kind === 'refused' ? at.message.replace(/and it is [^:]*:\d\d:\d\dZ/, '') : at.kind;
    };
    const around = (moment: number) => fc.integer({ min: moment - 90, max: moment + 90 });
    fc.assert(
      fc.property(fc.oneof(around(notBefore), around(notAfter)), fc.nat(100), (now, ahead) => {
        const change = nextStateChange(state, now);
        if (change === undefined || now + ahead < change) assert.equal(said(now + ahead), said(now));
        if (change !== undefined) assert.notEqual(said(change), said(change - 1));
      }),
    );
  });

  test('issues no credential that expires at or after notAfter', async () => {
    const { notAfter, state } = await seconds();
    assert.equal(latestExpiry(state.certificate), notAfter - 1);
  });
});

test('a refused or pending state does not depend on the time', () => {
  const no = refused('CertificateNotFound', 'create it');
  for (const state of [PENDING, no]) {
    assert.equal(stateAt(state, 0), state);
    assert.equal(nextStateChange(state, 0), undefined);
  }
});

test('any other error is thrown', async () => {
  const stopped = AbortSignal.abort(new Error('stopped'));
  const data = Object.fromEntries(
    Object.entries(tls(good)).map(([key, text]) => [key, Buffer.from(text).toString('base64')]),
  );
  await assert.rejects(readCertificateSecret({ metadata: {}, data }, 'web-tls', stopped), { message: 'stopped' });
});

describe('a Secret that is not a certificate', () => {
  const none = readCertificateSecret(undefined, 'web-tls', signal);

  const cases: Readonly<Record<string, () => CertificateSecret>> = {
    'without entries': () => ({ metadata: {} }),
    'with other entries': () => ({ metadata: {}, data: { password: base64('hunter2') } }),
    'with a service account token': () => ({
      metadata: {},
      type: 'kubernetes.io/service-account-token',
      data: encode(tls(good)),
    }),
    'with a Helm release': () => ({ metadata: {}, type: 'helm.sh/release.v1', data: { release: base64('x') } }),
    'that dcred has issued': () => ({
      metadata: { labels: { 'dcred.dev/delegated-credential': 'web' } },
      data: encode({ 'tls.crt': good.certificatePem, 'dc.key': good.keyPem }),
    }),
  };
  for (const [what, secret] of Object.entries(cases)) {
    test(`${what} has the same state as none: conditions do not reveal which Secrets exist`, async () => {
      assert.deepEqual(await readCertificateSecret(secret(), 'web-tls', signal), await none);
    });
  }
});

test('an entry over 64 KiB is refused before it is decoded', async () => {
  for (const key of ['tls.crt', 'tls.key']) {
    const secret = { metadata: {}, data: { ...encode(tls(good)), [key]: 'A'.repeat(100_000) } };
    const state = await readCertificateSecret(secret, 'web-tls', signal);
    assert.ok(state.kind === 'refused');
    assert.equal(state.reason, 'CertificateInvalid');
    assert.match(state.message, new RegExp(`${key} is larger than 65536 bytes: keep only`));
  }
});

describe('for a resource, a certificate', () => {
  const stateFrom = (state: CertificateState, usage: 'Server' | 'Client', namespace?: string) =>
    stateFor({ certificateRef: { name: 'web-tls', ...(namespace && { namespace }) }, usage }, 'edge', OWN, (secret) => {
      assert.deepEqual(secret, { namespace: 'edge', name: 'web-tls' });
      return state;
    });
  const foreign = { certificateRef: { name: 'web-tls', namespace: 'vault' }, usage: 'Server' } as const;
  const never = () => assert.fail('it was looked up');
  const terms = decideGrant([grant()], {
    certificate: { namespace: 'vault', name: 'web-tls' },
    usage: 'Server',
    consumer: { namespace: 'edge' },
    lifetimeSeconds: 60,
  });

  test('that no grant permits is refused, and not looked up', () => {
    const state = stateFor(foreign, 'edge', { kind: 'refused' }, never);
    assert.ok(state.kind === 'refused');
    assert.equal(state.reason, 'CertificateNotPermitted');
  });

  test('is not looked up before the grants are known', () => {
    assert.equal(stateFor(foreign, 'edge', { kind: 'pending' }, never).kind, 'pending');
  });

  test('that is granted and does not exist gets the same message as one that is not granted', async () => {
    assert.ok(terms !== undefined);
    const missing = await readCertificateSecret(undefined, 'web-tls', signal);
    const state = stateFor(foreign, 'edge', { kind: 'granted', terms }, () => missing);
    assert.deepEqual(state, stateFor(foreign, 'edge', { kind: 'refused' }, never));
  });

  test('is as it was read', () => {
    assert.equal(stateFrom(PENDING, 'Server'), PENDING);
    assert.equal(stateFrom(UNSEEN, 'Server', 'edge'), UNSEEN);
  });

  for (const [extendedKeyUsage, usage, refusal] of [
    ['clientAuth', 'Server', /extendedKeyUsage with clientAuth only, so peers refuse it for a Server/],
    ['serverAuth', 'Client', /extendedKeyUsage with serverAuth only, so peers refuse it for a Client/],
    ['clientAuth', 'Client', undefined],
    ['serverAuth,clientAuth', 'Server', undefined],
  ] as const) {
    test(`with extendedKeyUsage ${extendedKeyUsage} is ${refusal ? 'refused' : 'usable'} for a ${usage}`, async () => {
      const read = await readCertificateSecret(
        { metadata: {}, data: encode(tls(leaf({ extensions: [`extendedKeyUsage=${extendedKeyUsage}`] }))) },
        'web-tls',
        signal,
      );
      assert.equal(read.kind, 'usable');
      const state = stateFrom(read, usage);
      if (refusal === undefined) return assert.equal(state, read);
      assert.ok(state.kind === 'refused');
      assert.equal(state.reason, 'CertificateCannotDelegate');
      assert.match(state.message, refusal);
    });
  }
});

test('no message quotes the content of a Secret that is not a certificate', async () => {
  const marker = 'hunter2-marker';
  const text = fc
    .array(
      fc.constantFrom(
        marker,
        '-----BEGIN ',
        'CERTIFICATE-----\n',
        '-----END ',
        'PRIVATE KEY-----\n',
        '\n',
        ':',
        '=',
        ' ',
      ),
      {
        maxLength: 40,
      },
    )
    .map((parts) => parts.join(''));
  await fc.assert(
    fc.asyncProperty(text, text, async (certificate, key) => {
      const data = encode({ 'tls.crt': certificate, 'tls.key': key });
      const state = await readCertificateSecret({ metadata: {}, data }, 'web-tls', signal);
      assert.ok(state.kind === 'refused');
      assert.ok(!state.message.includes(marker), state.message);
    }),
    { numRuns: 300 },
  );
});
