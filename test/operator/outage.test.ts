import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ApiCall } from '../../src/kubernetes/client/api-types.ts';
import { Outage } from '../../src/operator/outage.ts';

type Call = Pick<ApiCall, 'plural' | 'status' | 'verb'>;

function ends(calls: readonly Call[]): number {
  const outage = new Outage();
  let count = 0;
  outage.follow(() => (count += 1));
  for (const call of calls) outage.observe(call);
  return count;
}

const of = (plural: string, verb: Call['verb'], ...statuses: readonly number[]): readonly Call[] =>
  statuses.map((status) => ({ plural, verb, status }));
const writes = (...statuses: readonly number[]) => of('secrets', 'create', ...statuses);
const leases = (...statuses: readonly number[]) => of('leases', 'update', ...statuses);

test('an outage ends with the first answer after three calls in a row without one', () => {
  assert.equal(ends(writes(0, 503, 504)), 0);
  assert.equal(ends(writes(0, 503, 504, 200, 200)), 1);
  assert.equal(ends(writes(0, 0, 200, 0, 0, 200)), 0, 'single connections fail all the time');
  assert.equal(ends(writes(502, 502, 502, 404, 0, 0, 0, 0, 201)), 2, 'any other answer ends an outage, even an error');
});

test('an outage does not end with a 403, which an API server that starts answers to everybody until it has read the roles', () => {
  assert.equal(ends(writes(0, 0, 0, 403, 403)), 0);
  assert.equal(ends(writes(0, 0, 0, 403, 403, 200)), 1);
  assert.equal(ends(writes(0, 0, 0, 401, 403, 0, 403, 200, 200)), 1);
  assert.equal(ends(writes(403, 403, 403, 200)), 0, 'refusals are no outage');
});

test('a 500 counts where nothing but the API server can have failed', () => {
  assert.equal(ends([...leases(500, 500, 500), ...writes(201)]), 1, 'etcd is away');
  assert.equal(ends([...of('pods', 'get', 500), ...of('secrets', 'list', 500), ...leases(500, 200)]), 1);
  assert.equal(ends(writes(500, 500, 500, 500, 201)), 0, "another's admission webhook fails");
  assert.equal(ends([...of('delegatedcredentials', 'list', 500, 500, 500), ...leases(200)]), 0, 'a conversion webhook');
  assert.equal(
    ends([...leases(500, 500), ...writes(500), ...leases(500, 200)]),
    1,
    'a write that fails ends no outage',
  );
});

test('there is one for each run of three failures of the server that an answer follows, other 500s and 403s left out', () => {
  const statuses = fc.constantFrom(0, 502, 503, 504, 200, 403, 409, 500);
  const kinds = fc.constantFrom(['secrets', 'create'], ['secrets', 'get'], ['leases', 'update'], ['pods', 'patch']);
  const calls = fc.array(fc.tuple(kinds, statuses));
  fc.assert(
    fc.property(calls, (made) => {
      const mark = ([[plural, verb], status]: (typeof made)[number]) => {
        if ([0, 502, 503, 504].includes(status)) return '-';
        if (status === 403) return '';
        if (status !== 500) return '+';
        return plural === 'leases' || verb === 'get' ? '-' : '';
      };
      const expected =
        made
          .map(mark)
          .join('')
          .match(/-{3,}(?=\+)/g)?.length ?? 0;
      assert.equal(ends(made.map(([[plural, verb], status]) => ({ plural, verb, status }) as Call)), expected);
    }),
    { numRuns: 1_000 },
  );
});
