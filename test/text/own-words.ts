import assert from 'node:assert/strict';
import { printable } from '../../src/text/printable.ts';

/** As zod says it, and as no message of dcred does. */
const PHRASES =
  /Invalid (input|option|string|key|value|element|number|datetime|date)|Too (small|big)|Unrecognized key|received|to (have|be|match) [<>=]|must match pattern|>=|<=|invalid_|too_(small|big)|unrecognized_/;

/** A message that was made of what a schema refused. */
export function assertOwnWords(message: string): void {
  assert.doesNotMatch(message, PHRASES);
  assert.ok(message.length <= 4_096, `${message.length} characters`);
  assert.equal(printable(message, message.length), message);
}
