import assert from 'node:assert/strict';
import { appendFile, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { signerCommand } from '../../src/cli/services/signer.ts';
import { AuditLog, type AuditLogEntry, CHAIN_START, chainLine, LogVerifier } from '../../src/signer/audit-log.ts';
import { runCommand, temporaryDirectory } from '../cli/run-command.ts';

const TIME = '2026-11-26T12:00:00Z';
const entry = (podUid: string): AuditLogEntry => ({ time: TIME, event: 'signed', client: 'eu', podUid });

function check(text: string) {
  const verifier = new LogVerifier();
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  for (const line of lines) verifier.push(line);
  return verifier.end();
}

function chain(count: number): readonly string[] {
  let head = CHAIN_START;
  return Array.from({ length: count }, (_, position) => {
    const next = chainLine(head, entry(`pod-${position} "quoted" \u2028`));
    head = next.head;
    return next.line;
  });
}

describe('a log', () => {
  test('verifies as it was written', () => {
    const lines = chain(5);
    assert.deepEqual(check(lines.join('')), {
      ok: true,
      lines: 5,
      head: { sequence: 6, hash: JSON.parse(lines[4] ?? '').hash },
    });
    assert.deepEqual(check(''), { ok: true, lines: 0, head: CHAIN_START });
  });

  test('does not verify with a line removed, repeated, moved, changed or inserted', () => {
    const lines = chain(8);
    const edit = fc.tuple(
      fc.constantFrom('remove', 'repeat', 'swap', 'change', 'insert'),
      fc.nat({ max: 6 }),
      fc.nat({ max: 60 }),
    );
    fc.assert(
      fc.property(edit, ([how, at, offset]) => {
        const edited = [...lines];
        const line = lines[at] ?? '';
        if (how === 'remove') edited.splice(at, 1);
        if (how === 'repeat') edited.splice(at, 0, line);
        if (how === 'swap') edited.splice(at, 2, lines[at + 1] ?? '', line);
        if (how === 'insert') edited.splice(at, 0, '{"event":"signed"}\n');
        if (how === 'change') {
          const changed = line.charAt(offset) === 'x' ? 'y' : 'x';
          edited[at] = line.slice(0, offset) + changed + line.slice(offset + 1);
        }
        assert.equal(check(edited.join('')).ok, false, how);
      }),
    );
  });

  test('that was cut off at its end verifies, and only its head shows it', () => {
    const lines = chain(5);
    const result = check(lines.slice(0, 3).join(''));
    assert.ok(result.ok);
    assert.equal(result.head.sequence, 4);
  });
});

describe('dcred signer verify-log', () => {
  const verify = async (t: TestContext, content: string | Uint8Array) => {
    const path = join(temporaryDirectory(t), 'audit.jsonl');
    await writeFile(path, content);
    return await runCommand(signerCommand, ['verify-log', path]);
  };
  const lines = chain(4);

  test('says of any file whether it verifies, in a line of printable text', async (t) => {
    const whole = Buffer.from(lines.join(''));
    const bytes = (...parts: readonly (string | Uint8Array)[]) =>
      Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)));
    const wrong = Buffer.from(lines[1] ?? '');
    wrong[20] = 0xff;
    for (const [what, content, expected] of [
      ['empty', '', /^ok: 0 lines/],
      ['whole', whole, /^ok: 4 lines; last entry 4/],
      ['without its last newline', whole.subarray(0, -1), /^ok: 4 lines/],
      ['cut at an entry', lines.slice(0, 2).join(''), /^ok: 2 lines; last entry 2/],
      ['empty lines', '\n\n\n', /^line 1: /],
      ['an empty line in it', bytes(lines[0] ?? '', '\n', lines[1] ?? ''), /^line 2: /],
      ['Windows line endings', whole.toString().replaceAll('\n', '\r\n'), /^line 1: /],
      ['a byte order mark', bytes('\ufeff', whole), /^line 1: /],
      ['reversed', lines.toReversed().join(''), /^line 1: expected entry 1/],
      ['without its first line', lines.slice(1).join(''), /^line 1: expected entry 1/],
      ['twice', bytes(whole, whole), /^line 5: expected entry 5/],
      ['a byte that is not UTF-8', bytes(lines[0] ?? '', wrong), /^line 2: the line was changed/],
      ['random bytes', Buffer.from(Array.from({ length: 5_000 }, (_, at) => (at * 7919) % 256)), /^line 1: /],
      ['zeros after it', bytes(whole, new Uint8Array(100_000)), /^line 5: /],
      ['a line of 5 MB', bytes(lines[0] ?? '', 'x'.repeat(5_000_000), '\n', lines[1] ?? ''), /^line 2: /],
      ['a line of braces', `${'{'.repeat(15_000)},"hash":"${'0'.repeat(64)}"}\n`, /^line 1: the line was changed/],
      ['a hash field many times', `${`,"hash":"${'0'.repeat(64)}"}`.repeat(200)}\n`, /^line 1: the line was changed/],
    ] as const) {
      const { status, stdout } = await verify(t, content);
      assert.match(stdout, expected, what);
      assert.match(stdout, /^[\x20-\x7e]*\n$/, what);
      assert.equal(status, expected.source.startsWith('^ok') ? 0 : 1, what);
    }
  });

  test('does not accept bytes after a whole entry as a torn line', async (t) => {
    const padded = `${(lines[0] ?? '').trimEnd()}${' '.repeat(20_000)}\n`;
    assert.equal((await verify(t, padded + lines[1])).status, 1);
  });
});

describe('the file', () => {
  test('continues where it ended, and verify-log reads it', async (t) => {
    const path = join(temporaryDirectory(t), 'audit.jsonl');
    for (const uid of ['a', 'b', 'c']) {
      const log = await AuditLog.open(path, TIME);
      await Promise.all([log.append([entry(uid)]), log.append([entry(`${uid}2`), entry(`${uid}3`)])]);
      await log.close();
    }
    const { status, stdout } = await runCommand(signerCommand, ['verify-log', path]);
    assert.equal(status, 0);
    assert.match(stdout, /^ok: 9 lines; last entry 9, hash [0-9a-f]{64}$/m);
    await writeFile(path, (await readFile(path, 'utf8')).replace('"podUid":"b"', '"podUid":"x"'));
    const changed = await runCommand(signerCommand, ['verify-log', path]);
    assert.deepEqual([changed.status, changed.stdout], [1, 'line 4: the line was changed: its hash does not match\n']);
  });

  test('has every entry, in the order in which they came, however many come at once', async (t) => {
    const path = join(temporaryDirectory(t), 'audit.jsonl');
    const log = await AuditLog.open(path, TIME);
    const uids = Array.from({ length: 300 }, (_, number) => `pod-${number}`);
    const written: string[] = [];
    const appended = uids.map(async (uid, number) => {
      // Some come while a write is in progress, some right after one.
      for (let turn = 0; turn < number % 7; turn += 1) await Promise.resolve();
      if (number % 50 === 49) await new Promise(setImmediate);
      await log.append([entry(uid)]);
      written.push(uid);
      const text = await readFile(path, 'utf8');
      assert.ok(text.includes(`"podUid":"${uid}"`), 'it is written before it is answered');
    });
    await Promise.all(appended);
    await log.close();
    const text = await readFile(path, 'utf8');
    const result = check(text);
    assert.ok(result.ok && result.lines === 300 && result.head.sequence === 301);
    const logged = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).podUid);
    assert.deepEqual(logged, written);
  });

  test('that a crash cut anywhere in its last line is recovered, and says so', async (t) => {
    const path = join(temporaryDirectory(t), 'audit.jsonl');
    const whole = chain(3).join('');
    const last = chain(3)[2]?.length ?? 0;
    for (let cut = 1; cut < last; cut += 13) {
      await writeFile(path, whole.slice(0, -cut));
      const log = await AuditLog.open(path, TIME);
      await log.append([entry('after')]);
      await log.close();
      const text = await readFile(path, 'utf8');
      assert.equal(check(text).ok, true, text);
      // Cut before its end of line only, it was whole.
      assert.equal(text.includes('"event":"recovered"'), cut > 1);
    }
  });

  test('that was torn within any bytes is recovered, and a later change of one of them is detected', async (t) => {
    const path = join(temporaryDirectory(t), 'audit.jsonl');
    const torn = Buffer.from([0x7b, 0x22, 0xff, 0xc3, 0x28, 0x00, 0xed, 0xa0, 0x80]);
    await writeFile(path, Buffer.concat([Buffer.from(chain(2).join('')), torn]));
    await (await AuditLog.open(path, TIME)).close();
    const { status, stdout } = await runCommand(signerCommand, ['verify-log', path]);
    assert.equal(status, 0, stdout);
    const bytes = await readFile(path);
    // Neither is UTF-8: a reader of text could not tell them apart.
    bytes[bytes.indexOf(0xff)] = 0xfe;
    await writeFile(path, bytes);
    assert.equal((await runCommand(signerCommand, ['verify-log', path])).status, 1);
  });

  test('with more torn bytes than an entry can have is refused, because no check could verify it', async (t) => {
    const path = join(temporaryDirectory(t), 'audit.jsonl');
    const content = Buffer.concat([Buffer.from(chain(2).join('')), new Uint8Array(20_000)]);
    await writeFile(path, content);
    await assert.rejects(AuditLog.open(path, TIME), { code: 'AuditLog', message: /choose another file/ });
    assert.ok(content.equals(await readFile(path)));
  });

  test('whose torn line is changed after the recovery does not verify', async (t) => {
    const path = join(temporaryDirectory(t), 'audit.jsonl');
    await writeFile(path, `${chain(2).join('')}{"torn`);
    await (await AuditLog.open(path, TIME)).close();
    const text = await readFile(path, 'utf8');
    assert.equal(check(text.replace('{"torn', '{"TORN')).ok, false);
  });

  test('that does not end in an entry is refused, and not touched', async (t) => {
    const path = join(temporaryDirectory(t), 'other.txt');
    await writeFile(path, 'somebody else wrote this\n');
    await assert.rejects(AuditLog.open(path, TIME), { code: 'AuditLog' });
    assert.equal(await readFile(path, 'utf8'), 'somebody else wrote this\n');
    await truncate(path);
    await appendFile(path, chain(1).join('').replace('pod-0', 'pod-9'));
    await assert.rejects(AuditLog.open(path, TIME), { code: 'AuditLog' });
  });
});

describe('a file that something else changes', () => {
  async function opened(t: TestContext): Promise<{ readonly path: string; readonly log: AuditLog }> {
    const path = join(temporaryDirectory(t), 'audit.jsonl');
    const log = await AuditLog.open(path, TIME);
    t.after(() => log.close());
    await log.append([entry('pod-1'), entry('pod-2')]);
    return { path, log };
  }
  const refused = (log: AuditLog, message: RegExp) =>
    assert.rejects(log.append([entry('pod-3')]), { code: 'AuditLog', message });

  test('with a second writer accepts no entry from the first, and loses none of either', async (t) => {
    const { path, log } = await opened(t);
    const second = await AuditLog.open(path, TIME);
    t.after(() => second.close());
    await second.append([entry('pod-of-the-second')]);
    await refused(log, /has \d+ bytes, expected \d+: something else changes it/);
    await refused(log, /something else changes it/);
    await second.append([entry('another-of-the-second')]);
    const text = await readFile(path, 'utf8');
    const verified = check(text);
    assert.ok(verified.ok && verified.lines === 4);
    assert.ok(!text.includes('pod-3'));
  });

  test('with two writers in any order holds every entry whose append resolved', async (t) => {
    const directory = temporaryDirectory(t);
    let files = 0;
    const turns = fc.array(fc.constantFrom(0, 1), { minLength: 1, maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(turns, fc.boolean(), async (order, atOnce) => {
        files += 1;
        const path = join(directory, `${files}.jsonl`);
        const writers = [await AuditLog.open(path, TIME), await AuditLog.open(path, TIME)] as const;
        const accepted: string[] = [];
        const results: Promise<void>[] = [];
        for (const [turn, who] of order.entries()) {
          const name = `pod-${turn}-of-${who}`;
          const written = writers[who === 0 ? 0 : 1].append([entry(name)]).then(
            () => void accepted.push(name),
            () => {},
          );
          if (!atOnce) await written;
          results.push(written);
        }
        await Promise.all(results);
        const text = await readFile(path, 'utf8');
        for (const name of accepted) assert.ok(text.includes(`"${name}"`), name);
        // Where appends do not overlap, no line of an overtaken writer breaks the chain.
        if (!atOnce) assert.ok(check(text).ok);
        await Promise.all(writers.map((writer) => writer.close()));
      }),
      { numRuns: 60 },
    );
  });

  test('that was deleted accepts no entry; one that was moved does, until the restart', async (t) => {
    const { path, log } = await opened(t);
    await rename(path, `${path}.1`);
    await log.append([entry('pod-moved')]);
    assert.match(await readFile(`${path}.1`, 'utf8'), /pod-moved/);
    await rm(`${path}.1`);
    await refused(log, /was deleted: restart the signer/);
  });

  test('that was truncated accepts no entry, and is not padded', async (t) => {
    const { path, log } = await opened(t);
    await truncate(path);
    await refused(log, /has 0 bytes, expected/);
    assert.equal(await readFile(path, 'utf8'), '');
  });
});
