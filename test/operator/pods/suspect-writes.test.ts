import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SuspectWrites } from '../../../src/operator/pods/suspect-writes.ts';
import { issuedSecret, NOW } from '../../../testing/support/builders.ts';

const secret = (resourceVersion: string, writtenAt: number) => issuedSecret({ resourceVersion, writtenAt });

describe("a write under dcred's name", () => {
  test("is suspect when it was not the operator's", () => {
    const suspects = new SuspectWrites();
    suspects.seen(secret('8', NOW + 500), secret('7', NOW), undefined);
    assert.ok(suspects.has(secret('8', NOW + 500)));
  });

  test("is not suspect when it was the operator's and its answer came first", () => {
    const suspects = new SuspectWrites();
    suspects.seen(secret('8', NOW + 500), secret('7', NOW), '8');
    assert.equal(suspects.size, 0);
  });

  test("is no longer suspect when it was the operator's and its answer comes later", () => {
    const suspects = new SuspectWrites();
    suspects.seen(secret('8', NOW + 500), secret('7', NOW), undefined);
    suspects.cleared(secret('8', NOW).uid, '8');
    assert.equal(suspects.size, 0);
  });

  test("after the operator's own is suspect", () => {
    const suspects = new SuspectWrites();
    suspects.seen(secret('9', NOW + 500), secret('7', NOW), '8');
    assert.ok(suspects.has(secret('9', NOW + 500)));
  });

  test('made while the operator was down is recognised by its time', () => {
    const suspects = new SuspectWrites();
    suspects.seen(secret('8', NOW + 500), undefined, undefined);
    assert.ok(suspects.has(secret('8', NOW + 500)));
    suspects.seen(secret('7', NOW + 1), undefined, undefined);
    assert.equal(suspects.has(secret('7', NOW + 1)), false);
  });
});

test('what is suspect stays so in its next version, until it is verified or gone', () => {
  const suspects = new SuspectWrites();
  suspects.seen(secret('8', NOW + 500), secret('7', NOW), undefined);
  suspects.seen(secret('9', NOW + 500), secret('8', NOW + 500), undefined);
  assert.ok(suspects.has(secret('9', NOW + 500)));
  suspects.gone(secret('9', NOW).uid);
  assert.equal(suspects.size, 0);
});
