/** dcred reads what OpenSSL reads: known cases, then generated damage, judged by OpenSSL in this process and by its program. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { verify, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { createSecureContext } from 'node:tls';
import fc from 'fast-check';
import { type Certificate, PEM_LIMITS, readCertificateChain } from '../../src/credential/certificate.ts';
import { CertificateError } from '../../src/credential/errors.ts';
import { PemError, readPem, writePem } from '../../src/credential/pem.ts';
import { signerFromPem } from '../../src/credential/signer.ts';
import { authority, convert, leaf } from '../../testing/support/openssl.ts';

const caseFile = (name: string) => readFileSync(new URL(`cases/pem/${name}`, import.meta.url), 'utf8');
const good = caseFile('good.crt');
const goodKey = caseFile('leaf.key');
const [goodLeaf, goodCa] = readCertificateChain(good);

/** The leaf that OpenSSL takes for a TLS server; undefined where it takes none. */
function leafOfOpenSsl(cert: string, key?: string): string | undefined {
  try {
    const { context } = createSecureContext({ cert, ...(key === undefined ? {} : { key }) });
    const der = (context as unknown as { getCertificate(): Buffer }).getCertificate();
    return new X509Certificate(der).fingerprint256.replaceAll(':', '').toLowerCase();
  } catch {
    return undefined;
  }
}

function ours(text: string): readonly Certificate[] | undefined {
  try {
    return readCertificateChain(text);
  } catch (error) {
    if (error instanceof CertificateError) return undefined;
    throw error;
  }
}

const refused = (text: string): string => {
  try {
    readCertificateChain(text);
  } catch (error) {
    assert.ok(error instanceof CertificateError, String(error));
    assert.equal(error.code, 'CertificateInvalid');
    return error.message;
  }
  assert.fail('accepted');
};

describe('a PEM chain is refused, with the remedy, when', () => {
  const lines = good.split('\n');
  const cases: readonly [string, string, RegExp][] = [
    ['two certificates are glued', caseFile('glued.crt'), /put a newline between the certificates/],
    ['the text is in quotes', caseFile('quoted.crt'), /"-----BEGIN " is not at the beginning of line 1: remove/],
    ['text is before BEGIN', caseFile('text-on-begin-line.crt'), /not at the beginning of line 1: remove/],
    ['lines inside are blank', caseFile('blank-lines-inside.crt'), /line 2, inside .* is blank: remove it/],
    ['it has a byte order mark', `\ufeff${good}`, /byte order mark.*save it without/],
    ['it is indented', lines.map((line) => `  ${line}`).join('\n'), /not at the beginning of line 1/],
    ['its newlines are written out', good.replaceAll('\n', '\\n'), /"\\n", two characters: replace/],
    ['its lines end in CR alone', good.replaceAll('\n', '\r'), /convert them to newlines/],
    ['it holds NUL', good.replace('MII', 'MI\0'), /NUL.*save it as UTF-8/],
    ['a block does not end', good.slice(0, 300), /has no line "-----END CERTIFICATE-----"/],
    ['a block begins in another', lines.toSpliced(12, 1).join('\n'), /has no line "-----END CERT.*before line 13/],
    ['the end has another label', good.replace('END CERTIFICATE', 'END X509 CRL'), /line 13 must be "-----END CERT/],
    [
      'the beginning has four dashes',
      good.replace('-----BEGIN', '----BEGIN'),
      /resembles "-----BEGIN CERTIFICATE-----"/,
    ],
    ['the beginning is in lower case', good.replace('-----BEGIN CERTIFICATE', '-----begin certificate'), /resembles/],
    ['the dashes are typographic', good.replace('-----BEGIN', '——-BEGIN'), /resembles/],
    ['the label has a space too many', good.replace('CERTIFICATE-----', 'CERTIFICATE -----'), /nothing else/],
    ['a stray END comes first', `-----END CERTIFICATE-----\n${good}`, /has not begun: remove/],
    ['a header is inside', good.replace('-----\n', '-----\nProc-Type: 4,CLEAR\n\n'), /does not hold base64/],
    ['padding is missing', writePem('CERTIFICATE', Buffer.alloc(10)).replace('==', ''), /cut short or damaged/],
    ['padding is in the middle', good.replace('MIIB', 'MA=='), /does not hold base64/],
    ['a line is cut by fixed buffers', longLine(508), /too long: wrap/],
    ['it is base64 of PEM', Buffer.from(good).toString('base64'), /this is base64: decode it first/],
    ['it is PKCS#7', pkcs7(), /this is PKCS#7: .*-print_certs/],
    ['it is a request', request(), /have a CA sign it/],
    ['a trusted certificate is in the chain', good + trusted(), /TRUSTED CERTIFICATE.*leaves out of a chain/],
  ];
  for (const [name, text, message] of cases) test(name, () => assert.match(refused(text), message));

  test('it is larger than 64 KiB or has more than 32 certificates, before anything is parsed', () => {
    assert.match(refused(`${good}${'BEGIN'.repeat(200_000)}`), /has 1001\d{3} bytes; at most 65536 are read/);
    assert.match(
      refused(`-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`.repeat(33)),
      /33 certificates/,
    );
    assert.equal(readCertificateChain(goodLeaf.leafPem.repeat(32)).length, 32);
    assert.equal(PEM_LIMITS.maxBytes, 65_536);
  });
});

function longLine(length: number): string {
  return `-----BEGIN CERTIFICATE-----\n${'A'.repeat(length)}\n-----END CERTIFICATE-----\n`;
}

function pkcs7(): string {
  const file = new URL('cases/pem/good.crt', import.meta.url).pathname;
  return convert('', 'crl2pkcs7', '-nocrl', '-certfile', file);
}

function request(): string {
  const file = new URL('cases/pem/leaf.key', import.meta.url).pathname;
  return convert('', 'req', '-new', '-key', file, '-subj', '/CN=x');
}

function trusted(text = good): string {
  return convert(text, 'x509', '-trustout', '-addtrust', 'serverAuth', '-setalias', 'web');
}

describe('a PEM chain is read as OpenSSL reads it, when', () => {
  const cases: readonly [string, string][] = [
    ['it is plain', good],
    ['its label is X509 CERTIFICATE', caseFile('x509-label.crt')],
    ['its leaf is a TRUSTED CERTIFICATE', trusted() + (goodCa?.leafPem ?? '')],
    ['its lines end in CRLF', good.replaceAll('\n', '\r\n')],
    ['its lines end in spaces and tabs', good.replaceAll('\n', ' \t \n')],
    ['the last newline is missing', good.trimEnd()],
    ['each certificate is in one line', [...readPem(good)].map(({ der, label }) => oneLine(label, der)).join('')],
    ['OpenSSL wrote text around it', convert(good, 'x509', '-text') + (goodCa?.leafPem ?? '')],
    ['comments in other scripts are around it', `# Zertifikat für плум\n${good}# 終\n`],
    ['parameters and a revocation list are before it', convert('', 'ecparam', '-name', 'prime256v1') + good],
    ['the leaf is there twice', goodLeaf.leafPem + good],
  ];
  for (const [name, text] of cases) {
    test(name, () => {
      assert.equal(readCertificateChain(text)[0].sha256, goodLeaf.sha256);
      assert.equal(leafOfOpenSsl(text, goodKey), goodLeaf.sha256);
      assert.deepEqual(
        readCertificateChain(text).map(({ sha256 }) => sha256),
        chainByProgram([text])[0],
      );
    });
  }
});

function oneLine(label: string, der: Uint8Array): string {
  return `-----BEGIN ${label}-----\n${Buffer.from(der).toString('base64')}\n-----END ${label}-----\n`;
}

/**
 * The certificates that the program `openssl` finds in each text, in order. Through PKCS#7, because `storeutl` skips the certificate
 * after a block of an unknown kind, while TLS servers load it.
 */
function chainByProgram(texts: readonly string[]): readonly (readonly string[])[] {
  return texts.map((text) => {
    const directory = mkdtempSync(join(tmpdir(), 'dcred-pem-'));
    try {
      const file = join(directory, 'chain.crt');
      writeFileSync(file, text);
      const collected = execFileSync('openssl', ['crl2pkcs7', '-nocrl', '-certfile', file]);
      const printed = execFileSync('openssl', ['pkcs7', '-print_certs'], { input: collected, encoding: 'utf8' });
      return [...printed.matchAll(/^-----BEGIN CERTIFICATE-----\n[^-]+-----END CERTIFICATE-----$/gm)].map(([block]) =>
        new X509Certificate(block).fingerprint256.replaceAll(':', '').toLowerCase(),
      );
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
}

/** One change of a text, of the kinds that editors, templates, shells and attackers make. */
const mutation: fc.Arbitrary<(text: string) => string> = fc.oneof(
  fc.constantFrom<(text: string) => string>(
    (text) => `\ufeff${text}`,
    (text) => text.replaceAll('\n', '\r\n'),
    (text) => text.replaceAll('\n', '\r'),
    (text) => text.trimEnd(),
    (text) => `"${text}"`,
    (text) => text.replaceAll('\n', '\\n'),
    (text) => text.replaceAll('-----\n-----BEGIN', '----------BEGIN'),
    (text) => text.split('\n').reverse().join('\n'),
    (text) => text.toLowerCase(),
    (text) => text.replaceAll('=', ''),
    (text) => text.replaceAll('\n', '\n\n'),
    (text) => text.replaceAll(/^/gm, '  '),
    (text) => text.replaceAll(/$/gm, ' \t'),
    (text) => text.repeat(2),
    (text) =>
      text.replace('BEGIN CERTIFICATE', 'BEGIN X509 CERTIFICATE').replace('END CERTIFICATE', 'END X509 CERTIFICATE'),
    (text) => text.replace('-----\n', '-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n'),
    (text) => `${'x'.repeat(254)}${text}`,
    (text) => text.replace('-----BEGIN', `${'x'.repeat(253)}-----BEGIN`),
  ),
  at((line, width) => line.slice(0, width) + ' '.repeat(1 + width) + line.slice(width)),
  at((line, width) => line + ' '.repeat(width)),
  at((line) => `${line}\n`),
  at(() => ''),
  at((line) => `${line}\n${line}`),
  at((line, width) => line.slice(width)),
  at((line, width) => `${line.slice(0, width)}\n${line.slice(width)}`),
  at((line) => `cert: ${line}`),
  at((line) => `${line}=`),
  at((line) => `\t${line}`),
  fc
    .tuple(
      at((line) => line),
      fc.nat({ max: 600 }),
    )
    .map(
      ([, width]) =>
        (text: string) =>
          rewrap(text, width + 1),
    ),
  fc
    .tuple(
      fc.nat(),
      fc.constantFrom('\0', '\t', ' ', '=', '-', ':', '\r', '\n', '\x0b', '\x1a', 'é', '\u2028', 'A', '#'),
    )
    .map(
      ([where, character]) =>
        (text: string) =>
          insert(text, where, character),
    ),
  fc.nat().map((where) => (text: string) => insert(text, where, undefined)),
  fc.nat().map((where) => (text: string) => text.slice(0, where % (text.length + 1))),
  fc.tuple(fc.nat(), fc.nat({ max: 20 })).map(
    ([where, index]) =>
      (text: string) =>
        between(text, where, index),
  ),
);

/** Changes one line; the width is any up to 300, beyond every fixed buffer. */
function at(change: (line: string, width: number) => string): fc.Arbitrary<(text: string) => string> {
  return fc.tuple(fc.nat(), fc.nat({ max: 300 })).map(([where, width]) => (text: string) => {
    const lines = text.split('\n');
    const index = where % lines.length;
    return lines.with(index, change(lines[index] ?? '', width)).join('\n');
  });
}

function rewrap(text: string, width: number): string {
  return text.replaceAll(/(-----BEGIN [A-Z0-9 ]+-----\n)([A-Za-z0-9+/=\n]+)/g, (_, begin: string, body: string) => {
    const base64 = body.replaceAll('\n', '');
    return `${begin}${base64.match(new RegExp(`.{1,${width}}`, 'g'))?.join('\n')}\n`;
  });
}

function insert(text: string, where: number, character: string | undefined): string {
  const index = where % (text.length + 1);
  return character === undefined
    ? text.slice(0, index) + text.slice(index + 1)
    : text.slice(0, index) + character + text.slice(index);
}

const JUNK: readonly string[] = [
  '-----BEGIN X-----\nAAAA\n-----END X-----\n',
  '-----BEGIN X-----\nAAAA\n',
  '-----END CERTIFICATE-----\n',
  '-----BEGIN CERTIFICATE-----\n',
  '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n',
  '-----BEGIN DH PARAMETERS-----\nMAYCAQ8CAQI=\n-----END DH PARAMETERS-----\n',
  '-----BEGIN PKCS7-----\nMAYCAQ8CAQI=\n-----END PKCS7-----\n',
  'Bag Attributes\n    friendlyName: web\n',
  '# a comment\n',
  '\n\n\n',
  `${'y'.repeat(254)}`,
  `${'y'.repeat(1_000)}\n`,
];

function between(text: string, where: number, index: number): string {
  const lines = text.split('\n');
  const junk = JUNK[index % JUNK.length] ?? '';
  return lines.toSpliced(where % lines.length, 0, junk.replace(/\n$/, '')).join('\n');
}

const otherLeaf = leaf({ subject: '/CN=other.example', issuer: authority('/CN=other CA') });
const bases = fc.constantFrom(
  good,
  otherLeaf.certificatePem + good,
  caseFile('x509-label.crt'),
  trusted() + (goodCa?.leafPem ?? ''),
  convert(good, 'x509', '-text'),
);
const damaged = fc
  .tuple(bases, fc.array(mutation, { minLength: 1, maxLength: 3 }))
  .map(([text, mutations]) => mutations.reduce((changed, mutate) => mutate(changed), text));

describe('whatever happens to a PEM file', () => {
  test('where we accept a chain, OpenSSL serves the same leaf', () => {
    let accepted = 0;
    fc.assert(
      fc.property(damaged, (text) => {
        const [leaf] = ours(text) ?? [];
        if (leaf === undefined) return;
        accepted += 1;
        assert.equal(leafOfOpenSsl(text), leaf.sha256);
      }),
      { numRuns: 4_000 },
    );
    assert.ok(accepted > 400, `only ${accepted} were accepted: the property says too little`);
  });

  test('where we accept a chain, the program openssl finds the same certificates', () => {
    const accepted = fc
      .sample(damaged, 600)
      .filter((text) => ours(text) !== undefined)
      .slice(0, 60);
    assert.ok(accepted.length > 20);
    assert.deepEqual(
      accepted.map((text) => ours(text)?.map(({ sha256 }) => sha256)),
      chainByProgram(accepted),
    );
  });

  test('where we accept a key, OpenSSL takes the same one', async () => {
    const keyBases = [
      goodKey,
      convert(goodKey, 'ec'),
      convert('', 'ecparam', '-name', 'prime256v1') + convert(goodKey, 'ec'),
      good + goodKey,
      goodKey + otherLeaf.keyPem,
      convert(goodKey, 'ec', '-aes128', '-passout', 'pass:secret'),
      convert(goodKey, 'pkcs8', '-topk8', '-passout', 'pass:secret'),
    ];
    const texts = fc
      .tuple(fc.constantFrom(...keyBases), fc.array(mutation, { maxLength: 2 }))
      .map(([text, mutations]) => mutations.reduce((changed, mutate) => mutate(changed), text));
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(texts, async (text) => {
        let signature: Uint8Array;
        try {
          signature = await signerFromPem(text).sign(Buffer.from('x'), {});
        } catch (error) {
          assert.ok(error instanceof CertificateError, String(error));
          assert.ok(!error.message.includes(goodKey.slice(60, 100)));
          return;
        }
        accepted += 1;
        const isOfLeaf = verify('sha256', Buffer.from('x'), goodLeaf.publicKey, signature);
        // createSecureContext throws where key and certificate do not belong together.
        assert.equal(leafOfOpenSsl(good, text), isOfLeaf ? goodLeaf.sha256 : undefined);
      }),
      { numRuns: 2_000 },
    );
    assert.ok(accepted > 200, `only ${accepted} were accepted: the property says too little`);
  });

  test('what is written reads back, and reading throws one error class only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), (der) => {
        assert.deepEqual(readPem(writePem('DATA', der))[0]?.der, der);
      }),
    );
    fc.assert(
      fc.property(damaged, (text) => {
        try {
          readPem(text);
        } catch (error) {
          assert.ok(error instanceof PemError);
          assert.equal(error.code, 'PemMalformed');
        }
      }),
    );
  });
});
