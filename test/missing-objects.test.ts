/** An object is gone where the 404 names it, and `isMissing` says so. Whoever asks for the bare reason has decided to. See docs/adr/0082. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { test } from 'node:test';

const SRC = resolve(import.meta.dirname, '../src');

/** Every file that names the reason, and why a 404 that names no object is right there too. */
const NAMES_THE_REASON: Readonly<Record<string, string>> = {
  'kubernetes/api-error.ts': 'isMissing itself',
  'kubernetes/client/status-error.ts': 'the reason of a status code',
  'kubernetes/cache/namespaced-cache.ts': 'a list: a kind that is not served',
  'kubernetes/events/event-recorder.ts': 'a new Event in place of one that may exist is better than none',
  'operator/pods/confirmation.ts': 'words for a kind that is not served: nothing is deleted',
  'operator/grants/grant-check.ts': 'a list: a kind that is not served withdraws nothing',
  'signer/grant-watch.ts': 'a list: a kind that is not served withdraws nothing',
  'signer/refusals.ts': 'the reason of a status code',
  'status/grants.ts': 'unknown, as what is forbidden',
  'check/preflight.ts': 'a list and a path of discovery: a kind that is not served is a finding of its own',
  'check/issuer-check.ts': 'a list: a kind that is not served is a finding of its own',
  'cli/advice.ts': 'advice for both',
  'agent/mounted-version.ts': "the agent's own error",
};

test('every file that asks whether something was not found asks whether the answer names it, or has a reason', () => {
  const found = globSync('**/*.ts', { cwd: SRC }).filter((file) =>
    readFileSync(join(SRC, file), 'utf8').includes("'NotFound'"),
  );
  assert.deepEqual(found.sort(), Object.keys(NAMES_THE_REASON).sort());
});
