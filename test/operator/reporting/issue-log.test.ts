import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IssueLog } from '../../../src/operator/reporting/issue-log.ts';
import { FakeClock } from '../../../testing/support/fake-clock.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';

const pod = (number: number, resource = 'web') =>
  ({ namespace: 'shop', resource, pod: `web-${number}`, reason: 'RenewalDue' }) as const;

function logging() {
  const clock = new FakeClock();
  const log = recordingLogger();
  const lines = (level: string) => log.lines.filter((line) => line.level === level);
  return { clock, issueLog: new IssueLog({ clock, log }), lines };
}

test('an occasional credential has its own line', () => {
  const { clock, issueLog, lines } = logging();
  for (let number = 0; number < 100; number += 1) {
    issueLog.issued(pod(number));
    clock.advance(1_000);
  }
  assert.deepEqual(
    lines('info').map(({ fields, message }) => [message, fields['pod']]),
    Array.from({ length: 100 }, (_, number) => ['issued a credential', `web-${number}`]),
  );
});

test('in a wave every credential is in exactly one line, and the lines are few', () => {
  const { clock, issueLog, lines } = logging();
  for (let number = 0; number < 6_000; number += 1) {
    issueLog.issued(pod(number, number % 3 === 0 ? 'api' : 'web'));
    clock.advance(2);
  }
  issueLog.flush();
  const counts = { api: 0, web: 0 };
  for (const { fields } of lines('info'))
    counts[fields['resource'] as 'api' | 'web'] += (fields['count'] as number) ?? 1;
  assert.deepEqual(counts, { api: 2_000, web: 4_000 });
  assert.ok(lines('info').length < 150, `${lines('info').length} lines`);
  // At debug, each of those that have no line at info.
  assert.equal(lines('info').filter(({ fields }) => 'pod' in fields).length + lines('debug').length, 6_000);
});

test('a summary comes by itself, without a further credential', () => {
  const { clock, issueLog, lines } = logging();
  for (let number = 0; number < 51; number += 1) issueLog.issued(pod(number));
  clock.advance(10_000);
  const { fields, message } = lines('info').at(-1) ?? assert.fail('expected a line');
  assert.deepEqual(
    [message, fields],
    ['issued credentials', { namespace: 'shop', resource: 'web', reason: 'RenewalDue', count: 1 }],
  );
});
