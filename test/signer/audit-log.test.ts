import assert from 'node:assert/strict';
import { appendFile, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { signerCommand } from '../../src/cli/signer.ts';
import { type AuditEntry, AuditLog, CHAIN_START, chainLine, LogVerifier } from '../../src/signer/audit-log.ts';
import { runCommand, temporaryDirectory } from '../cli/run-command.ts';

const TIME = '2026-11-26T12:00:00Z';
const entry = (podUid: string): AuditEntry => ({ time: TIME, event: 'signed', client: 'eu', podUid });

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
  test('holds as it was written', () => {
    const lines = chain(5);
    assert.deepEqual(check(lines.join('')), {
      ok: true,
      lines: 5,
      head: { sequence: 6, hash: JSON.parse(lines[4] ?? '').hash },
    });
    assert.deepEqual(check(''), { ok: true, lines: 0, head: CHAIN_START });
  });

  test('does not hold with a line removed, repeated, moved, changed or inserted', () => {
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

  test('that was cut off at its end holds, and its head tells', () => {
    const lines = chain(5);
    const result = check(lines.slice(0, 3).join(''));
    assert.ok(result.ok);
    assert.equal(result.head.sequence, 4);
  });
});

describe('the file', () => {
  test('goes on where it ended, and verify-log reads it', async (t) => {
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
    assert.deepEqual([changed.status, changed.stdout], [1, 'line 4: the line was changed: its hash does not hold\n']);
  });

  test('has every entry, in the order in which they came, however many come at once', async (t) => {
    const path = join(temporaryDirectory(t), 'audit.jsonl');
    const log = await AuditLog.open(path, TIME);
    const uids = Array.from({ length: 300 }, (_, number) => `pod-${number}`);
    const written: string[] = [];
    const appended = uids.map(async (uid, number) => {
      // Some come while a write is under way, some right after one.
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

  test('whose torn line is changed after the recovery does not hold', async (t) => {
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
