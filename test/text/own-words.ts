import assert from 'node:assert/strict';
import { printable } from '../../src/text/printable.ts';

/** zod's phrases, which no message of dcred has. */
const PHRASES =
  /Invalid (input|option|string|key|value|element|number|datetime|date)|Too (small|big)|Unrecognized key|received|to (have|be|match) [<>=]|must match pattern|invalid_|too_(small|big)|unrecognized_/;

/** Asserts on a message made from what a schema refused. */
export function assertOwnWords(message: string): void {
  assert.doesNotMatch(message, PHRASES);
  assert.ok(message.length <= 4_096, `${message.length} characters`);
  assert.equal(printable(message, message.length), message);
}
