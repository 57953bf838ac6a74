import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { DelegationGrantStatus } from '../../../src/api/delegation-grant.ts';
import { readDelegationGrant } from '../../../src/api/read-grant.ts';
import type { ApiError } from '../../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../../src/kubernetes/client/api-client.ts';
import { WorkQueue } from '../../../src/kubernetes/queue/work-queue.ts';
import { PENDING } from '../../../src/operator/core/certificate-state.ts';
import { GrantController } from '../../../src/operator/grants/grant-controller.ts';
import { grant } from '../../../testing/support/builders.ts';
import { FakeClock } from '../../../testing/support/fake-clock.ts';
import { missing, notServed } from '../../../testing/support/not-found.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';

const KEY = 'vault/edge';
const signal = new AbortController().signal;

type Conditions = readonly { readonly type: string }[];

/** An API server with one grant: what is applied takes the place of what was applied before, and what others wrote stays. */
class World {
  readonly clock = new FakeClock();
  readonly applied: DelegationGrantStatus[] = [];
  readonly controller: GrantController;
  others: Conditions = [];
  refusal: ApiError | undefined;

  constructor() {
    const client = {
      apply: async (_: unknown, { status }: { status: DelegationGrantStatus }) => {
        if (this.refusal !== undefined) throw this.refusal;
        this.applied.push(status);
      },
    } as unknown as ApiClient;
    this.controller = new GrantController({
      client,
      queue: new WorkQueue({ clock: this.clock, random: () => 0 }),
      clock: this.clock,
      log: recordingLogger(),
      grantOf: () => readDelegationGrant({ ...grant(), status: this.#status }),
      certificateOf: () => PENDING,
    });
  }

  get #status() {
    const { conditions = [], ...own } = this.applied.at(-1) ?? {};
    const types = new Set(conditions.map(({ type }) => type));
    return { ...own, conditions: [...this.others.filter(({ type }) => !types.has(type)), ...conditions] };
  }
}

const time = '2026-01-01T00:00:00Z';
const theirs = {
  type: 'example.com/Reviewed',
  status: 'True',
  reason: 'Reviewed',
  message: '',
  lastTransitionTime: time,
};

describe('the status of a grant', () => {
  test('is written once, whatever other clients write into it', async () => {
    const field = fc.constantFrom(...Object.keys(theirs).filter((name) => name !== 'type'));
    const change = fc.tuple(field, fc.oneof(fc.jsonValue(), fc.constant('2026-01-01T00:00:00+01:00')));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 3 }), async (changes) => {
        const world = new World();
        for (const one of [[], ...changes.map((pair) => [pair]), changes]) {
          world.others = [{ ...theirs, ...Object.fromEntries(one) }];
          assert.deepEqual(await world.controller.reconcile(KEY, signal), { kind: 'done' });
          await world.clock.advanceAsync(5_000);
        }
        assert.equal(world.applied.length, 1);
      }),
    );
  });

  test('is retried where the API server does not serve the kind at the moment, and dropped where the grant is gone', async () => {
    const world = new World();
    world.refusal = missing();
    assert.deepEqual(await world.controller.reconcile(KEY, signal), { kind: 'done' });
    world.refusal = notServed();
    assert.equal((await world.controller.reconcile(KEY, signal)).kind, 'retry');
    world.refusal = undefined;
    await world.controller.reconcile(KEY, signal);
    assert.equal(world.applied.length, 1);
  });

  test("holds dcred's own conditions alone: whoever applies a condition owns it, and would write over its next version", async () => {
    const world = new World();
    world.others = [theirs];
    await world.controller.reconcile(KEY, signal);
    const types = world.applied.map(({ conditions = [] }) => conditions.map(({ type }) => type));
    assert.deepEqual(types, [['Accepted']]);
  });
});
