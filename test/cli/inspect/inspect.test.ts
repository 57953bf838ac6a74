import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { CommandError } from '../../../src/cli/command.ts';
import { issueCommand } from '../../../src/cli/credential/issue.ts';
import { inspectCommand } from '../../../src/cli/inspect/inspect.ts';
import { readInput } from '../../../src/cli/options/input.ts';
import { convert, leaf } from '../../../testing/support/openssl.ts';
import { VECTOR_TIME, vectorBytes, vectorFile, vectorKeyPem } from '../../credential/vectors.ts';
import { runCommand, temporaryDirectory } from '../run-command.ts';

interface Files {
  readonly [name: string]: Buffer;
}

/** An issued set, as files in memory, with the directory they are in. */
async function issued(
  t: TestContext,
  ...extra: string[]
): Promise<{ directory: string; files: Files; leafKey: string }> {
  const directory = temporaryDirectory(t);
  const { certificatePem, keyPem } = leaf();
  writeFileSync(join(directory, 'leaf.crt'), certificatePem);
  writeFileSync(join(directory, 'leaf.key'), keyPem);
  const out = join(directory, 'web');
  await runCommand(issueCommand, [
    '--cert',
    join(directory, 'leaf.crt'),
    '--key',
    join(directory, 'leaf.key'),
    '--out',
    out,
    ...extra,
  ]);
  const files = Object.fromEntries(readdirSync(out).map((name) => [name, readFileSync(join(out, name))]));
  return { directory: out, files, leafKey: keyPem };
}

async function inspect(t: TestContext, content: string | Uint8Array, ...argv: string[]) {
  const file = join(temporaryDirectory(t), 'file');
  writeFileSync(file, content);
  return await runCommand(inspectCommand, [file, ...argv]);
}

function secret(files: Files, changes: Record<string, unknown> = {}) {
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'dcred.dev/delegated-credential',
    metadata: {
      name: 'web-web-0',
      namespace: 'shop',
      annotations: { 'dcred.dev/usage': 'Server', 'dcred.dev/pod-name': 'web-0', other: 'x' },
    },
    data: Object.fromEntries(Object.entries(files).map(([name, content]) => [name, content.toString('base64')])),
    ...changes,
  };
}

/** YAML as kubectl prints it: enough for objects of objects and strings. */
function yaml(value: unknown, indent = ''): string {
  if (typeof value !== 'object' || value === null) return ` ${JSON.stringify(value)}\n`;
  if (Array.isArray(value))
    return `\n${value.map((item) => `${indent}- ${yaml(item, `${indent}  `).trimStart()}`).join('')}`;
  return `\n${Object.entries(value)
    .map(([key, inner]) => `${indent}${key}:${yaml(inner, `${indent}  `)}`)
    .join('')}`;
}

function assertNoKeys(text: string, ...pems: readonly string[]): void {
  for (const line of pems
    .flatMap((pem) => pem.split('\n'))
    .filter((part) => !part.startsWith('-----') && part.length > 8)) {
    assert.ok(!text.includes(line), 'key material in the output');
  }
}

test('a credential is recognised in each of its formats', async (t) => {
  const { directory, files } = await issued(t);
  for (const [name, format] of [
    ['dc.bin', 'raw bytes'],
    ['dc.hex', 'hex'],
    ['dc.pem', 'PEM'],
    ['fizz.pem', "Fizz's combined file"],
  ] as const) {
    const { status, stdout } = await runCommand(inspectCommand, [join(directory, name)]);
    assert.equal(status, 0);
    assert.match(stdout, new RegExp(`^Delegated credential\n {2}format +${format}, ${files['dc.bin']?.length} bytes`));
    assert.match(stdout, /key +ECDSAP256, SPKI sha256 [0-9a-f]{64}/);
    assert.match(stdout, /signed by +ecdsa_secp256r1_sha256 \(0x0403\)/);
    assertNoKeys(stdout, String(files['dc.key']));
  }
});

test('Fizz’s file shows its usage and leaf, and that a key is in it', async (t) => {
  const { directory } = await issued(t, '--usage', 'Client');
  const { stdout } = await runCommand(inspectCommand, [join(directory, 'fizz.pem')]);
  assert.match(stdout, /usage +Client/);
  assert.match(stdout, /private key +in this file, not shown/);
  assert.match(stdout, /expires +20\d\d-.*Z \(in 4[78]h/);
  assert.match(stdout, /\nCertificate\n {2}subject +CN=web\.example/);
});

test('rows are aligned', async (t) => {
  const { directory } = await issued(t);
  const { stdout } = await runCommand(inspectCommand, [join(directory, 'dc.bin')]);
  const columns = stdout
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => /^ {2}\S+( \S+)* {2,}/.exec(line)?.[0].length);
  assert.equal(new Set(columns).size, 1, stdout);
});

test('a certificate says whether it can delegate, in PEM and in DER', async (t) => {
  for (const content of [vectorFile('leaf.crt'), convertToDer(vectorFile('leaf.crt'))]) {
    const file = join(temporaryDirectory(t), 'leaf');
    writeFileSync(file, content);
    const { stdout } = await runCommand(inspectCommand, [file], { now: VECTOR_TIME });
    assert.match(stdout, /^Certificate\n {2}subject +CN=localhost\n {2}DNS names +localhost dc\.test\n/);
    assert.match(stdout, /can delegate +yes/);
    assert.doesNotMatch(stdout, /!/);
  }
});

test('a certificate that cannot delegate says why not', async (t) => {
  const { stdout } = await inspect(t, leaf({ delegationUsage: null }).certificatePem);
  assert.match(stdout, /can delegate +no/);
  assert.match(stdout, /! CertificateCannotDelegate: .*44363\.44/);
  const rsa = await inspect(t, leaf({ key: 'RSA' }).certificatePem);
  assert.match(rsa.stdout, /key +RSA 2048/);
  assert.match(rsa.stdout, /! CertificateKeyUnsupported: .*Firefox/);
});

test('every certificate of a chain is shown', async (t) => {
  const { stdout } = await inspect(
    t,
    vectorFile('leaf.crt').toString() + vectorFile('ca.crt').toString(),
    '-o',
    'json',
  );
  const shown = JSON.parse(stdout) as { subject: string; authority: boolean }[];
  assert.deepEqual(
    shown.map(({ subject, authority }) => [subject, authority]),
    [
      ['CN=localhost', false],
      ['CN=dcx-test-ca', true],
    ],
  );
});

test('a Secret says whether its parts belong together, from JSON and YAML', async (t) => {
  const { files, leafKey } = await issued(t);
  for (const content of [JSON.stringify(secret(files)), yaml(secret(files)), `---${yaml(secret(files))}`]) {
    const { status, stdout } = await inspect(t, content);
    assert.equal(status, 0);
    assert.match(stdout, /^Secret shop\/web-web-0\n {2}type +dcred\.dev\/delegated-credential\n/);
    assert.match(stdout, /pod-name +web-0/);
    assert.doesNotMatch(stdout, /other/);
    assert.match(stdout, /verified +yes/);
    assert.match(stdout, /\nDelegated credential\n/);
    assert.match(stdout, /\nCertificate\n/);
    assertNoKeys(stdout, String(files['dc.key']), leafKey);
  }
});

test('a Secret whose parts do not belong together says so', async (t) => {
  const { files } = await issued(t);
  const other = (await issued(t)).files;
  for (const [changes, code] of [
    [{ 'dc.key': other['dc.key'] }, 'KeyMismatch'],
    [{ 'tls.crt': other['tls.crt'] }, 'BadSignature'],
    [{ 'dc.bin': Buffer.from([1, 2]) }, 'TruncatedValidTime'],
    [{ 'dc.key': Buffer.from('x') }, 'KeyInvalid'],
    [{ 'tls.crt': Buffer.from('x') }, 'CertificateInvalid'],
  ] as const) {
    const { stdout } = await inspect(t, JSON.stringify(secret({ ...files, ...changes } as Files)), '-o', 'json');
    const shown = JSON.parse(stdout) as { verified: boolean; problems: { code: string }[] };
    assert.equal(shown.verified, false, code);
    assert.deepEqual(
      shown.problems.map((problem) => problem.code),
      [code],
    );
  }
});

test('a certificate Secret, as cert-manager writes it, shows its certificate and never its key', async (t) => {
  const { certificatePem, keyPem } = leaf();
  const files = { 'tls.crt': Buffer.from(certificatePem), 'tls.key': Buffer.from(keyPem) };
  const { stdout } = await inspect(t, JSON.stringify(secret(files, { type: 'kubernetes.io/tls' })));
  assert.match(stdout, /data +tls\.crt tls\.key/);
  assert.match(stdout, /can delegate +yes/);
  assertNoKeys(stdout, keyPem, Buffer.from(keyPem).toString('base64'));
});

test('a list of Secrets shows each', async (t) => {
  const { files } = await issued(t);
  const list = { apiVersion: 'v1', kind: 'List', items: [secret(files), secret(files)] };
  for (const content of [JSON.stringify(list), yaml(list)]) {
    const { stdout } = await inspect(t, content, '-o', 'json');
    assert.equal((JSON.parse(stdout) as unknown[]).length, 2);
  }
});

test('-o json holds what the text does, and no key', async (t) => {
  const { directory, files } = await issued(t);
  const { stdout } = await runCommand(inspectCommand, [join(directory, 'fizz.pem'), '-o', 'json']);
  const shown = JSON.parse(stdout) as Record<string, unknown>;
  assert.equal(shown['kind'], 'DelegatedCredential');
  assert.equal(shown['format'], 'fizz');
  assert.equal(shown['usage'], 'Server');
  assert.equal(shown['keyAlgorithm'], 'ECDSAP256');
  assert.equal(shown['holdsPrivateKey'], true);
  assertNoKeys(stdout, String(files['dc.key']));
});

test('a private key is not shown', async (t) => {
  const pem = vectorKeyPem('p256');
  await assert.rejects(inspect(t, pem), (error: unknown) => {
    assert.ok(error instanceof CommandError);
    assert.match(error.message, /is a private key: dcred never shows one/);
    assertNoKeys(error.message, pem);
    return true;
  });
});

test('other manifests, broken ones and other files each get their own message', async (t) => {
  const pem = vectorKeyPem('p256');
  await assert.rejects(inspect(t, 'kind: ConfigMap\ndata: {}\n'), /expected a Secret manifest; found ConfigMap/);
  await assert.rejects(inspect(t, `{"kind": "Secret", "data": "${pem}`), (error: unknown) => {
    assertNoKeys(String(error), pem);
    return error instanceof CommandError && /cannot be parsed/.test(error.message);
  });
  await assert.rejects(inspect(t, `kind: Secret\n  stringData: [\n ${pem}`), (error: unknown) => {
    assertNoKeys(String(error), pem);
    return error instanceof CommandError && /cannot be parsed as YAML/.test(error.message);
  });
  await assert.rejects(inspect(t, 'hello'), /neither a credential, a certificate nor a Secret manifest/);
  await assert.rejects(inspect(t, ''), /is empty/);
});

test('what is encoded or of another kind is named, with what to do', async (t) => {
  const pem = readFileSync(new URL('../../vectors/leaf.crt', import.meta.url), 'utf8');
  const manifest = JSON.stringify(secret({}));
  const cases: readonly [string | Uint8Array, RegExp][] = [
    [Buffer.from(pem).toString('base64'), /this is base64: decode it first \(base64 -d\)/],
    [Buffer.from(vectorBytes('p256')).toString('base64'), /this is base64: decode it first/],
    [Buffer.from(manifest).toString('base64').replaceAll(/.{76}/g, '$&\n'), /this is base64: decode it first/],
    [Buffer.from(vectorBytes('p256')).toString('base64url'), /this is base64: decode it first/],
    [Buffer.from(pem, 'utf16le'), /this is UTF-16 text: save it as UTF-8/],
    [Buffer.from(`\ufeff${manifest}`, 'utf16le'), /this is UTF-16 text/],
    [Buffer.from(pem, 'utf16le').swap16(), /this is UTF-16 text/],
    [gzipSync(pem), /compressed by gzip: decompress/],
    [Buffer.from('504b0304', 'hex'), /zip archive/],
    [Buffer.from(vectorBytes('p256')).toString('hex').replaceAll(/../g, '$&:'), /hex with separators/],
    [convert(vectorKeyPem('p256'), 'pkey', '-pubout'), /a public key/],
    [execFileSync('openssl', ['pkey', '-outform', 'DER'], { input: vectorKeyPem('p256') }), /a private key in DER/],
  ];
  for (const [content, message] of cases) await assert.rejects(inspect(t, content), { name: 'CommandError', message });
});

test('a manifest is read with a byte order mark and with blank lines before it', async (t) => {
  const manifests = [
    JSON.stringify(secret({})),
    'kind: Secret\nmetadata: {name: web}\n',
    '- kind: x\n---\nkind: Secret\n',
  ];
  for (const manifest of manifests) {
    const expected = (await inspect(t, manifest)).stdout;
    for (const before of ['\ufeff', '\ufeff\n', '\n\n']) {
      assert.equal((await inspect(t, `${before}${manifest}`)).stdout, expected, JSON.stringify(before + manifest));
    }
  }
});

test('YAML whose aliases expand without bound is refused', async (t) => {
  const levels = Array.from(
    { length: 9 },
    (_, level) => `a${level}: &a${level} [${`*a${level - 1}, `.repeat(9)}]`,
  ).slice(1);
  const bombs = [
    `kind: Secret\na0: &a0 [lol]\n${levels.join('\n')}\ndata: *a8\n`,
    `a0: &a0 [lol]\n${levels.join('\n')}\nkind: *a8\n`,
    `kind: List\nx: &x ${'y'.repeat(100_000)}\nitems:\n${'- {kind: Secret, stringData: {a: *x, b: *x}}\n'.repeat(49)}`,
    `kind: List\nitems: [${'*x, '.repeat(1_000)}]\n`,
    `kind: Secret\na: &a {${Array.from({ length: 5_000 }, (_, index) => `k${index}: 1`).join(', ')}}\ndata: {<<: [${'*a, '.repeat(90)}]}\n`,
    `kind: Secret\ndata: ${'['.repeat(100_000)}`,
    `kind: Secret\ndata: ${'{a: '.repeat(100_000)}`,
  ];
  for (const bomb of bombs) {
    await assert.rejects(inspect(t, bomb), {
      name: 'CommandError',
      message: /expands to more|cannot be parsed as YAML/,
    });
  }
});

test('a FIFO without a writer, or one that stays silent, ends with the signal', async (t) => {
  const directory = temporaryDirectory(t);
  const fifo = join(directory, 'fifo');
  execFileSync('mkfifo', [fifo]);
  for (const hasWriter of [false, true]) {
    const stop = new AbortController();
    const reading = readInput(fifo, { what: 'a credential', signal: stop.signal });
    const writer = hasWriter ? openSync(fifo, 'r+') : undefined;
    if (writer !== undefined) writeSync(writer, 'some');
    await new Promise((resolve) => setImmediate(resolve));
    stop.abort();
    await assert.rejects(reading, { name: 'AbortError' });
    if (writer !== undefined) closeSync(writer);
  }
  const reading = readInput(fifo, { what: 'a credential', signal: new AbortController().signal });
  await promisify(execFile)('sh', ['-c', 'printf content > "$0"', fifo]);
  assert.equal(Buffer.from(await reading).toString(), 'content');
});

test('names from a file cannot control the terminal', async (t) => {
  const manifest = secret({}, { metadata: { name: 'a\u001b[2Jb', annotations: { 'dcred.dev/usage': '\u0007' } } });
  const { stdout } = await inspect(t, JSON.stringify(manifest));
  assert.doesNotMatch(stdout.replaceAll('\n', ''), /\p{Cc}/u);
});

test('standard input is read where the file is -, and bounded', async () => {
  const signal = new AbortController().signal;
  async function* chunks(count: number) {
    for (let sent = 0; sent < count; sent++) yield Buffer.alloc(65_536, 'a');
  }
  const options = { what: 'a credential', signal };
  assert.equal((await readInput('-', { ...options, stdin: chunks(3) })).length, 3 * 65_536);
  await assert.rejects(
    readInput('-', { ...options, stdin: chunks(Number.POSITIVE_INFINITY) }),
    /standard input is larger than 1 MiB/,
  );
  await assert.rejects(readInput('-', { ...options, stdin: chunks(0) }), /standard input is empty/);
});

function convertToDer(pem: Buffer): Buffer {
  assert.match(convert(pem, 'x509', '-noout', '-subject'), /localhost/);
  return execFileSync('openssl', ['x509', '-outform', 'DER'], { input: pem });
}
