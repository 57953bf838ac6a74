import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { ApiError } from '../../../src/kubernetes/api-error.ts';
import { listPages } from '../../../src/kubernetes/cache/snapshot.ts';
import type { ApiClient } from '../../../src/kubernetes/client/api-client.ts';
import type { ListSelection } from '../../../src/kubernetes/client/api-types.ts';
import { listAll } from '../../../src/kubernetes/client/list-all.ts';
import type { KubernetesObject, ObjectList } from '../../../src/kubernetes/objects.ts';
import { SECRETS } from '../../../src/kubernetes/resource-type.ts';

/** Whole lists of a fake API server, whose pages are as odd as no real one can be made to give them. */

const { signal } = new AbortController();

type Answer = (selection: ListSelection, call: number) => ObjectList<KubernetesObject>;

class FakeServer {
  calls = 0;
  readonly #answer: Answer;

  constructor(answer: Answer) {
    this.#answer = answer;
  }

  get client(): ApiClient {
    const list = async (_type: unknown, selection: ListSelection) => this.#answer(selection, this.calls++);
    return { list } as unknown as ApiClient;
  }
}

const objects = (from: number, to: number): KubernetesObject[] =>
  Array.from({ length: to - from }, (_, index) => ({ metadata: { name: `s${from + index}`, resourceVersion: '1' } }));

const names = (found: readonly KubernetesObject[]) => found.map(({ metadata }) => metadata.name);

/** The two ways to gather a list: for a command, and for a cache. */
const WAYS: Readonly<Record<string, (client: ApiClient) => Promise<readonly (string | undefined)[]>>> = {
  listAll: async (client) => names(await listAll(client, SECRETS, {}, signal)),
  listPages: async (client) => {
    const keep = (raw: KubernetesObject) => ({ key: raw.metadata.name ?? '', object: raw, version: '1' });
    const { objects: found } = await listPages(client, SECRETS, {}, keep, signal);
    return [...found.keys()];
  },
};

for (const [name, read] of Object.entries(WAYS)) {
  describe(name, () => {
    test('gives every object once, whatever pages expire, are empty or too large', async () => {
      const fault = fc.constantFrom('none', 'none', 'none', 'empty', 'too large', 'expired');
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 0, max: 3_000 }),
          fc.array(fault, { maxLength: 12 }),
          async (count, faults) => {
            const server = new FakeServer(({ continue: token, limit }, call) => {
              // The token is where the next page begins, and how often it was empty: no two are the same.
              const [from = 0, empty = 0] = (token ?? '0 0').split(' ').map(Number);
              const kind = faults[call] ?? 'none';
              if (kind === 'expired' && token !== undefined)
                throw new ApiError('old', { status: 410, reason: 'Expired' });
              if (kind === 'too large' && limit !== 1)
                throw new ApiError('large', { status: 0, reason: 'ResponseTooLarge' });
              const isEmpty = kind === 'empty' && limit !== undefined && from < count;
              const to = isEmpty ? from : Math.min(count, from + (limit ?? count));
              const next = to < count ? { continue: `${to} ${isEmpty ? empty + 1 : empty}` } : {};
              return { items: objects(from, to), metadata: { resourceVersion: '7', ...next } };
            });
            // In one piece, a list that is too large is an error; then there is nothing else to try.
            const found = await read(server.client).catch((error: unknown) => {
              assert.ok(error instanceof ApiError && error.reason === 'ResponseTooLarge', String(error));
              assert.ok(faults.includes('expired') && faults.includes('too large'));
              return undefined;
            });
            if (found !== undefined) assert.deepEqual(found, names(objects(0, count)));
          },
        ),
      );
    });

    test('gives every object of a server that sends no more than so many at once, whatever it is asked for', async () => {
      for (const most of [1, 7, 600]) {
        let hasExpired = false;
        const server = new FakeServer(({ continue: token, limit }) => {
          if (limit !== undefined && token !== undefined) {
            hasExpired = true;
            throw new ApiError('old', { status: 410, reason: 'Expired' });
          }
          const from = Number(token ?? 0);
          const to = Math.min(1_500, from + most);
          const next = to < 1_500 ? { continue: String(to) } : {};
          return { items: objects(from, to), metadata: { resourceVersion: '7', ...next } };
        });
        assert.deepEqual(await read(server.client), names(objects(0, 1_500)));
        assert.ok(hasExpired);
      }
    });

    test('ends a list that has no end', async () => {
      const same = new FakeServer(() => ({ items: objects(0, 1), metadata: { continue: 'again' } }));
      await assert.rejects(read(same.client), {
        reason: 'InvalidResponse',
        message: /found a page that leads to itself$/,
      });
      assert.equal(same.calls, 2);

      const empty = new FakeServer((_, call) => ({ items: [], metadata: { continue: String(call) } }));
      await assert.rejects(read(empty.client), { reason: 'InvalidResponse', message: /empty pages in a row$/ });

      const page = objects(0, 500);
      const repeating = new FakeServer((_, call) => ({ items: page, metadata: { continue: String(call) } }));
      await assert.rejects(read(repeating.client), {
        reason: 'InvalidResponse',
        message: /more than 1000000 objects$/,
      });
    });
  });
}
