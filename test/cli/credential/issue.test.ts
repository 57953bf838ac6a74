import assert from 'node:assert/strict';
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { CommandError, UsageError } from '../../../src/cli/command.ts';
import { issueCommand } from '../../../src/cli/credential/issue.ts';
import { verifyCommand } from '../../../src/cli/credential/verify.ts';
import { type LeafOptions, leaf } from '../../../testing/support/openssl.ts';
import { runCommand, temporaryDirectory } from '../run-command.ts';

const FILES = ['dc.bin', 'dc.hex', 'dc.key', 'dc.pem', 'fizz.pem', 'tls.crt'];

/** A directory with a leaf and its key, and the arguments that issue into `web`. */
function workplace(t: TestContext, options: LeafOptions = {}) {
  const directory = temporaryDirectory(t);
  const { certificatePem, keyPem } = leaf(options);
  const [cert, key, out] = ['leaf.crt', 'leaf.key', 'web'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(cert, certificatePem);
  writeFileSync(key, keyPem);
  return { directory, cert, key, out, keyPem, certificatePem, argv: ['--cert', cert, '--key', key, '--out', out] };
}

const read = (directory: string, name: string) => readFileSync(join(directory, name));

test('issue writes the files of a Secret, and verify accepts them', async (t) => {
  const { argv, certificatePem, cert, out } = workplace(t);
  const issued = await runCommand(issueCommand, argv);
  assert.equal(issued.status, 0);
  assert.match(
    issued.stdout,
    /^Issued a Server credential on CN=web\.example\n {2}key {6}ECDSAP256\n {2}expires .*\(in 48h\)/,
  );
  assert.deepEqual(readdirSync(out).sort(), FILES);
  assert.equal(read(out, 'tls.crt').toString(), certificatePem);
  assert.equal(read(out, 'dc.hex').toString(), `${read(out, 'dc.bin').toString('hex')}\n`);
  for (const name of ['dc.bin', 'dc.hex', 'dc.pem', 'fizz.pem']) {
    const verified = await runCommand(verifyCommand, [
      '--cert',
      cert,
      '--dc',
      join(out, name),
      '--key',
      join(out, 'dc.key'),
    ]);
    assert.equal(verified.status, 0, verified.stdout);
  }
});

test('files with a private key are readable by their owner alone', async (t) => {
  const { argv, out } = workplace(t);
  await runCommand(issueCommand, argv);
  const modes = Object.fromEntries(FILES.map((name) => [name, (statSync(join(out, name)).mode & 0o777).toString(8)]));
  assert.deepEqual(modes, {
    'dc.bin': '644',
    'dc.hex': '644',
    'dc.key': '600',
    'dc.pem': '644',
    'fizz.pem': '600',
    'tls.crt': '644',
  });
});

test('every algorithm and usage of the contract can be issued', async (t) => {
  const { argv, cert, directory } = workplace(t, { key: 'P-384' });
  for (const algorithm of ['ECDSAP256', 'ECDSAP384', 'ECDSAP521', 'Ed25519']) {
    for (const usage of ['Server', 'Client']) {
      const out = join(directory, `${algorithm}-${usage}`);
      await runCommand(issueCommand, [
        ...argv.slice(0, 4),
        '--out',
        out,
        '--algorithm',
        algorithm,
        '--usage',
        usage,
        '--lifetime',
        '1h30m',
      ]);
      const check = ['--cert', cert, '--dc', join(out, 'dc.bin'), '--usage'];
      assert.equal((await runCommand(verifyCommand, [...check, usage])).status, 0);
      assert.equal((await runCommand(verifyCommand, [...check, usage === 'Server' ? 'Client' : 'Server'])).status, 1);
    }
  }
});

test('issuing again replaces the set, and leaves nothing of the earlier one behind', async (t) => {
  const { argv, cert, out } = workplace(t);
  await runCommand(issueCommand, argv);
  const before = read(out, 'dc.key');
  await runCommand(issueCommand, [...argv, '--algorithm', 'ECDSAP384']);
  assert.notDeepEqual(read(out, 'dc.key'), before);
  assert.deepEqual(
    readdirSync(out).sort(),
    FILES.filter((name) => name !== 'fizz.pem'),
    'no fizz.pem of another key',
  );
  const check = ['--cert', cert, '--dc', join(out, 'dc.bin'), '--key', join(out, 'dc.key')];
  assert.equal((await runCommand(verifyCommand, check)).status, 0);
});

test('a new directory is for its owner alone, an existing one keeps its mode, and nothing is left beside it', async (t) => {
  const { argv, directory, out } = workplace(t);
  await runCommand(issueCommand, argv);
  assert.equal(statSync(out).mode & 0o777, 0o700);
  chmodSync(out, 0o750);
  await runCommand(issueCommand, argv);
  assert.equal(statSync(out).mode & 0o777, 0o750);
  assert.deepEqual(readdirSync(directory).sort(), ['leaf.crt', 'leaf.key', 'web']);
});

test('readers of a directory that is issued into repeatedly never see a mixed set', async (t) => {
  const { argv, cert, out } = workplace(t);
  await runCommand(issueCommand, argv);
  const done = new AbortController();
  const writer = (async () => {
    for (let round = 0; round < 8; round += 1) await runCommand(issueCommand, argv);
    done.abort();
  })();
  let sets = 0;
  while (!done.signal.aborted) {
    await new Promise((resolve) => setImmediate(resolve));
    const handle = openDirectory(out);
    if (handle === undefined) continue;
    const set = `/proc/self/fd/${handle}`;
    try {
      const check = ['--cert', cert, '--dc', join(set, 'dc.bin'), '--key', join(set, 'dc.key')];
      assert.equal((await runCommand(verifyCommand, check)).status, 0);
      sets += 1;
    } catch (error) {
      // The old set was removed while it was read.
      assert.match(String(error), /does not exist/);
    } finally {
      closeSync(handle);
    }
  }
  await writer;
  assert.ok(sets > 0);
});

/** A handle on one set; undefined between the two renames. */
function openDirectory(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    assert.match(String(error), /ENOENT/);
    return undefined;
  }
}

test('other files of the directory stay', async (t) => {
  const { argv, out } = workplace(t);
  mkdirSync(out);
  writeFileSync(join(out, 'nginx.conf'), 'mine');
  await runCommand(issueCommand, argv);
  assert.equal(read(out, 'nginx.conf').toString(), 'mine');
});

test('a directory that is written to through a symbolic link is replaced where it is, and the link stays', async (t) => {
  const { argv, directory, out } = workplace(t);
  const real = join(directory, 'real');
  mkdirSync(real);
  symlinkSync('real', out);
  for (let round = 0; round < 2; round += 1) {
    await runCommand(issueCommand, argv);
    assert.ok(lstatSync(out).isSymbolicLink());
    assert.deepEqual(readdirSync(real).sort(), FILES);
  }
  assert.deepEqual(readdirSync(directory).sort(), ['leaf.crt', 'leaf.key', 'real', 'web']);
});

test('the directory that one stands in stays the one that one stands in', async (t) => {
  const { argv, out } = workplace(t);
  const before = process.cwd();
  mkdirSync(out);
  process.chdir(out);
  try {
    await runCommand(issueCommand, [...argv.slice(0, 4), '--out', '.']);
    assert.deepEqual(readdirSync('.').sort(), FILES);
  } finally {
    process.chdir(before);
  }
});

test('a directory whose parent takes no new files is written to, as a volume in a read-only root is', async (t) => {
  const { argv, directory, out } = workplace(t);
  mkdirSync(out);
  await asNobody([out, argv[1] ?? '', argv[3] ?? ''], directory, async () => {
    for (let round = 0; round < 2; round += 1) {
      const before = existsSync(join(out, 'dc.key')) ? read(out, 'dc.key') : undefined;
      await runCommand(issueCommand, argv);
      assert.deepEqual(readdirSync(out).sort(), FILES);
      assert.notDeepEqual(read(out, 'dc.key'), before);
      assert.equal(statSync(join(out, 'dc.key')).mode & 0o777, 0o600);
    }
  });
});

/** Runs `work` as a user whom permissions bind, who owns these paths and may not write to the directory. */
async function asNobody(paths: readonly string[], directory: string, work: () => Promise<void>): Promise<void> {
  const isRoot = process.getuid?.() === 0;
  if (isRoot) for (const path of paths) chownSync(path, NOBODY, NOBODY);
  chmodSync(directory, 0o555);
  if (isRoot) process.seteuid?.(NOBODY);
  try {
    await work();
  } finally {
    if (isRoot) process.seteuid?.(0);
    chmodSync(directory, 0o755);
  }
}

const NOBODY = 65_534;

test('a lifetime beyond the certificate is shortened, and reported', async (t) => {
  const { argv } = workplace(t, { days: 1 });
  const { stdout } = await runCommand(issueCommand, argv);
  assert.match(stdout, /shorter than 48h, because the certificate expires then/);
});

test('a failure half-way changes nothing and leaves no temporary file', async (t) => {
  const { argv, out } = workplace(t);
  await runCommand(issueCommand, argv);
  const before = FILES.map((name) => read(out, name));
  const cancelled = new AbortController();
  cancelled.abort(new Error('terminated'));
  await assert.rejects(runCommand(issueCommand, argv, { signal: cancelled.signal }));
  assert.deepEqual(
    FILES.map((name) => read(out, name)),
    before,
  );
  assert.deepEqual(readdirSync(out).sort(), FILES);
});

test('wrong certificates and keys are refused with the file and the reason, and nothing is written', async (t) => {
  const other = leaf().keyPem;
  const cases: readonly [LeafOptions, string | undefined, RegExp][] = [
    [{ key: 'RSA' }, undefined, /leaf\.crt: .*Firefox/],
    [{ delegationUsage: null }, undefined, /leaf\.crt: .*44363\.44=ASN1:NULL/],
    [{ keyUsage: 'keyAgreement' }, undefined, /leaf\.crt: .*digitalSignature/],
    [{}, other, /does not belong to the certificate/],
    [{}, 'hello', /leaf\.key: .*cannot be read/],
    [{}, leaf({ key: 'RSA' }).keyPem, /leaf\.key: .*Firefox/],
  ];
  for (const [options, key, message] of cases) {
    const place = workplace(t, options);
    if (key !== undefined) writeFileSync(place.key, key);
    await assert.rejects(runCommand(issueCommand, place.argv), (error: unknown) => {
      assert.ok(error instanceof CommandError, String(error));
      assert.match(error.message, message);
      return true;
    });
    assert.equal(existsSync(place.out), false);
  }
});

test('an expired certificate is refused', async (t) => {
  const { argv } = workplace(t, { days: 1 });
  const now = Math.floor(Date.now() / 1000) + 3 * 86_400;
  await assert.rejects(runCommand(issueCommand, argv, { now }), /leaf\.crt: .*expired/);
});

test('missing files, directories, empty files and far too large ones each get their own message', async (t) => {
  const { argv, cert, directory, key, out } = workplace(t);
  await assert.rejects(
    runCommand(issueCommand, ['--cert', join(directory, 'no.crt'), ...argv.slice(2)]),
    /no\.crt does not exist/,
  );
  await assert.rejects(runCommand(issueCommand, ['--cert', directory, ...argv.slice(2)]), /is a directory/);
  writeFileSync(cert, '');
  await assert.rejects(runCommand(issueCommand, argv), /is empty/);
  writeFileSync(cert, Buffer.alloc(1_048_577, 'a'));
  await assert.rejects(runCommand(issueCommand, argv), /larger than 1 MiB/);
  await assert.rejects(
    runCommand(issueCommand, ['--cert', '/dev/zero', '--key', key, '--out', out]),
    /larger than 1 MiB/,
  );
});

test('a directory that cannot be created is reported', async (t) => {
  const { argv, cert } = workplace(t);
  await assert.rejects(
    runCommand(issueCommand, [...argv.slice(0, 4), '--out', join(cert, 'web')]),
    /cannot write the files: .*web is not a directory, or lies below a file/,
  );
});

test('a lifetime out of range, or an unknown algorithm, is wrong usage', async (t) => {
  const { argv } = workplace(t);
  for (const extra of [
    ['--lifetime', '59s'],
    ['--lifetime', '168h'],
    ['--lifetime', 'soon'],
    ['--algorithm', 'RSA'],
    ['--usage', 'server'],
  ]) {
    await assert.rejects(runCommand(issueCommand, [...argv, ...extra]), UsageError, extra.join(' '));
  }
  await assert.rejects(runCommand(issueCommand, argv.slice(2)), /--cert FILE is required/);
});

test('no output holds key material', async (t) => {
  const { argv, out } = workplace(t);
  const { stderr, stdout } = await runCommand(issueCommand, argv);
  const body = read(out, 'dc.key').toString().split('\n')[1] ?? '';
  assert.ok(body.length > 20);
  assert.ok(!`${stdout}${stderr}`.includes(body));
});
