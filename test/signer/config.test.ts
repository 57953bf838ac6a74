import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { systemClock } from '../../src/kubernetes/clock.ts';
import { makeDevCertificate } from '../../src/provision/dev-authority.ts';
import { Authenticator } from '../../src/signer/authentication.ts';
import { parseSignerConfig, SignerConfigError } from '../../src/signer/config.ts';
import { isRecord } from '../../src/text/is-record.ts';
import { at, mutationsOf, pathsOf, replaced } from '../../testing/support/mutations.ts';
import { assertOwnWords } from '../text/own-words.ts';

const GRANT = { certificate: 'shop/web', from: [{ namespace: 'edge', cluster: 'eu' }], usages: ['Server'] };
const VALID = {
  cluster: 'home',
  clients: [
    { name: 'home', cluster: 'home', serviceAccount: 'dcred-system/dcred' },
    { name: 'eu', cluster: 'eu', serviceAccount: 'dcred-system/dcred', issuer: 'https://eu.example' },
    { name: 'us', cluster: 'us', tlsName: 'operator.us.example' },
  ],
  issuers: [{ url: 'https://eu.example', jwksFile: 'eu.jwks' }],
  certificates: [{ name: 'shop/web' }, { name: 'shop/api', directory: '/certificates/api' }],
  grants: [{ ...GRANT, maxLifetimeSeconds: 3_600, maxPods: 5, onWithdraw: 'Delete' }],
  delegationGrants: true,
  maxLifetimeSeconds: 86_400,
  ratePerSecond: 100,
};

function refusal(config: unknown): string | undefined {
  try {
    parseSignerConfig(config);
    return undefined;
  } catch (error) {
    assert.ok(error instanceof SignerConfigError, String(error));
    return error.message;
  }
}

describe("the signer's configuration", () => {
  test('is read', () => assert.equal(refusal(VALID), undefined));

  const [client] = VALID.clients;
  const FIELDS = 'clients, issuers, certificates, delegationGrants, cluster, grants, maxLifetimeSeconds';
  for (const [what, change, expected] of [
    ['no clients', { clients: [] }, 'clients: expected at least 1 entry, found an empty list'],
    ['a field that is missing', { clients: undefined }, 'clients: expected a list, found nothing: add it'],
    [
      'a misspelt field',
      { clientz: [] },
      `clientz: unknown field, expected one of ${FIELDS} or ratePerSecond: did you mean clients?`,
    ],
    [
      'a field unlike any other',
      { clients: [{ ...client, colour: 'red' }] },
      'clients[0].colour: unknown field, expected one of name, cluster, tlsName, serviceAccount or issuer: remove it',
    ],
    [
      'a name with other characters',
      { clients: [{ ...client, name: 'A B' }] },
      'clients[0].name: expected a name of at most 253 lower-case letters, digits, ".", "-" and "/", beginning with a letter or digit, found "A B"',
    ],
    [
      'a misspelt word',
      { grants: [{ ...GRANT, usages: ['server'] }] },
      'grants[0].usages[0]: expected one of Server or Client, found "server"; did you mean Server?',
    ],
    ['a number as text', { ratePerSecond: '5' }, 'ratePerSecond: expected a number, found text'],
    ['part of a number', { ratePerSecond: 1.5 }, 'ratePerSecond: expected a whole number, found 1.5'],
    ['too large a number', { ratePerSecond: 1e300 }, 'ratePerSecond: expected at most 1000000, found 1e+300'],
    [
      'two wrong fields',
      { ratePerSecond: 0, cluster: '' },
      /^cluster: expected a name of .*, found empty text; ratePerSecond: expected at least 1, found 0$/,
    ],
    [
      'text that is too long, which is not quoted',
      { certificates: [{ name: 'shop/web', key: 'x'.repeat(5_000) }] },
      'certificates[0].key: expected at most 4096 characters, found 5000',
    ],
    [
      'an account twice',
      { clients: [client, { ...client, name: 'again' }] },
      'clients.serviceAccount: "dcred-system/dcred" occurs twice: keep one of them',
    ],
    [
      'a DNS name twice, in other letters',
      {
        clients: [
          { name: 'us', cluster: 'us', tlsName: 'operator.us.example' },
          { name: 'eu', cluster: 'eu', tlsName: 'Operator.US.example' },
        ],
      },
      'clients.tlsName: "operator.us.example" occurs twice: keep one of them',
    ],
  ] as const) {
    test(`with ${what}`, () => {
      const message = refusal({ ...VALID, ...change });
      if (typeof expected === 'string') assert.equal(message, expected);
      else assert.match(message ?? '', expected);
    });
  }

  test('names a client by no name that stands for others, or that nothing can be compared with', async () => {
    const now = Math.floor(Date.now() / 1000);
    const shown = 'operator.eu.example';
    const { certificate } = await makeDevCertificate({ dnsNames: [shown], now, lifetimeSeconds: 3_600 });
    const authenticate = async (tlsName: string) => {
      const clients = [{ name: 'eu', cluster: 'eu', tlsName }];
      const { clients: read } = parseSignerConfig({ ...VALID, clients });
      const authenticator = new Authenticator({
        clients: read,
        keySets: new Map(),
        reviewToken: undefined,
        clock: systemClock,
      });
      const credentials = { certificate: new X509Certificate(certificate), authorization: undefined, address: '' };
      return await authenticator.authenticate(credentials, new AbortController().signal);
    };
    assert.equal((await authenticate(shown))?.name, 'eu');
    const parts = fc.constantFrom(
      '.',
      'operator',
      'eu',
      'example',
      '*',
      '\0',
      ' ',
      'EXAMPLE',
      '\u00e9',
      'operator.eu.example',
    );
    const names = fc.array(parts, { minLength: 1, maxLength: 6 }).map((some) => some.join(''));
    await fc.assert(
      fc.asyncProperty(names, async (tlsName) => {
        const isRefused = refusal({ ...VALID, clients: [{ name: 'eu', cluster: 'eu', tlsName }] }) !== undefined;
        if (!isRefused)
          assert.equal((await authenticate(tlsName)) !== undefined, tlsName.toLowerCase() === shown, tlsName);
      }),
      { examples: [['.example'], ['.eu.example'], ['a\0b'], ['Operator.EU.example'], [shown]] },
    );
  });

  test('that is not a map is refused with what the file has', () => {
    for (const [config, found] of [
      [undefined, 'nothing'],
      [[], 'an empty list'],
      ['text', 'text'],
    ] as const) {
      assert.equal(refusal(config), `the file: expected a map with ${FIELDS} and ratePerSecond, found ${found}`);
    }
  });

  test('with any change is read, or refused in its own words that name the field', () => {
    const path = ['grants', 0, 'usages', 0];
    // A message quotes this value: signs that zod uses too are not zod's words there.
    const quoted = { path, value: replaced(VALID, path, { value: '>=' }) };
    fc.assert(
      fc.property(mutationsOf(VALID), ({ path, value }) => {
        const message = refusal(value);
        if (message === undefined) return;
        assertOwnWords(message);
        const [field = 'the file'] = path;
        // A changed name may be missing where it is referred to.
        const references = ['clients', 'certificates', 'grants', 'the file'];
        const isNamed = message.startsWith(String(field)) || references.some((one) => message.startsWith(one));
        assert.ok(isNamed || (path.length === 1 && message.includes(': unknown field')), message);
      }),
      { numRuns: 300, examples: [[quoted]] },
    );
  });

  test('with a value of another kind is refused with its path', () => {
    for (const path of pathsOf(VALID)) {
      const value = isRecord(at(VALID, path)) ? 'text' : {};
      assert.ok(refusal(replaced(VALID, path, { value }))?.startsWith(`${shown(path)}: expected `), shown(path));
    }
  });
});

function shown(path: readonly (string | number)[]): string {
  const text = path.map((key) => (typeof key === 'number' ? `[${key}]` : `.${key}`)).join('');
  return text === '' ? 'the file' : text.slice(1);
}
