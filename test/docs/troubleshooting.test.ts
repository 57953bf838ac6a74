/** Whatever reason a user meets, in a condition or in an Event, has a section that says what to do. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { FINDING_REASONS } from '../../src/audit/serving-condition.ts';
import { ISSUER_FAILURES } from '../../src/issuer/names.ts';
import { POD_WARNING_REASONS } from '../../src/operator/core/missed-injection.ts';
import { ISSUE_REASONS } from '../../src/operator/core/plan.ts';
import { READY_REASONS } from '../../src/operator/core/status.ts';
import { POD_FAILURE_REASONS } from '../../src/operator/pod-failure.ts';
import { RESOURCE_EVENT_REASONS } from '../../src/operator/reporting/reporter.ts';

/** Of conditions other than Ready. */
const OTHER_CONDITIONS = ['CertificateExpiring', 'NextCertificate', 'PodsNotInjected', 'ClockSkew', 'CleanUpRefused'];

const text = await readFile(join(import.meta.dirname, '..', '..', 'docs', 'troubleshooting.md'), 'utf8');

function reasonsIn(heading: string): readonly string[] {
  const section = text.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? '';
  return [...section.matchAll(/^### (\w+)$/gm)].map(([, reason = '']) => reason).sort();
}

const sorted = (reasons: Iterable<string>) => [...new Set(reasons)].sort();

test('every reason of the Ready condition, and no other', () => {
  assert.deepEqual(reasonsIn('The Ready condition'), sorted(READY_REASONS));
});

test('every other condition', () => {
  assert.deepEqual(reasonsIn('Other conditions'), sorted(OTHER_CONDITIONS));
});

test('every reason of an Event on a pod, and no other', () => {
  assert.deepEqual(reasonsIn('Events on pods'), sorted([...POD_FAILURE_REASONS, ...POD_WARNING_REASONS]));
});

test('every finding of an audit, and no other', () => {
  assert.deepEqual(reasonsIn('The Serving condition'), sorted(Object.values(FINDING_REASONS)));
});

test('every reason of an issuer that cannot sign, and no other', () => {
  const headings = ISSUER_FAILURES.map((reason) => (reason === 'SpecInvalid' ? 'IssuerSpecInvalid' : reason));
  assert.deepEqual(reasonsIn('The Ready condition of an issuer'), sorted(headings));
});

test('every reason of an Event on a resource that no condition has, and no other', () => {
  const elsewhere = new Set<string>([...READY_REASONS, ...OTHER_CONDITIONS]);
  const wanted = [...ISSUE_REASONS, ...RESOURCE_EVENT_REASONS].filter((reason) => !elsewhere.has(reason));
  assert.deepEqual(reasonsIn('Events on a DelegatedCredential'), sorted(wanted));
});
