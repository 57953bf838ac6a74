import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ReflectorEvent } from '../../../src/kubernetes/cache/reflector.ts';
import { RefusalCount } from '../../../src/kubernetes/cache/refusal-count.ts';

const fails = (reason?: string): ReflectorEvent => ({ kind: 'failure', ...(reason !== undefined && { reason }) });
const [forbidden, notFound, network] = [fails('Forbidden'), fails('NotFound'), fails('Network')];
const watch: ReflectorEvent = { kind: 'watch' };

/** What is said of each event. */
function said(events: readonly ReflectorEvent[], hasSynced = true): readonly (string | undefined)[] {
  const count = new RefusalCount(new Set(['Forbidden', 'NotFound']));
  return events.map((event) => count.refusal(event, { hasSynced }));
}

describe('of what has been listed, a refusal counts', () => {
  const cases: Readonly<Record<string, readonly [readonly ReflectorEvent[], string | undefined]>> = {
    'the fourth time in a row': [[forbidden, forbidden, forbidden, forbidden], 'Forbidden'],
    'whatever of the refusals it is': [[notFound, forbidden, notFound, forbidden], 'Forbidden'],
    'not the third time': [[forbidden, forbidden, forbidden], undefined],
    'not with an accepted watch in between': [[forbidden, forbidden, forbidden, watch, forbidden], undefined],
    'not with an outage in between': [
      [forbidden, network, forbidden, network, forbidden, network, forbidden],
      undefined,
    ],
    'not with a failure of no reason in between': [[forbidden, forbidden, forbidden, fails(), forbidden], undefined],
    'once it lasts, also after an outage': [
      [forbidden, network, forbidden, forbidden, forbidden, forbidden],
      'Forbidden',
    ],
  };
  for (const [what, [events, expected]] of Object.entries(cases)) {
    test(what, () => {
      const all = said(events);
      assert.equal(all.at(-1), expected);
      assert.ok(all.slice(0, -1).every((one) => one === undefined));
    });
  }
});

test('of what was never listed, every refusal counts, and nothing else does', () => {
  assert.deepEqual(said([network, forbidden, notFound, watch], false), [undefined, 'Forbidden', 'NotFound', undefined]);
});
