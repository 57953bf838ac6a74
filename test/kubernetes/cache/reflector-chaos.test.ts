/** The reflector against a fake API server whose history is random and whose streams are cut at random bytes. */

import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import fc from 'fast-check';
import { Reflector } from '../../../src/kubernetes/cache/reflector.ts';
import { systemClock } from '../../../src/kubernetes/clock.ts';
import { SECRETS } from '../../../src/kubernetes/resource-type.ts';
import { settle } from '../../../testing/support/fake-clock.ts';
import { eventually } from '../../../testing/support/processes.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';
import { FakeApiServer, type FakeRequest } from '../clients.ts';

const NAMES = ['a', 'b', 'c', 'd', 'é-\u{1F511}'];

interface Entry {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly name: string;
  readonly version: number;
}

/** etcd and the watch cache as a reflector sees them: a state, a history, and how much of it is compacted. */
class FakeHistory {
  readonly state = new Map<string, number>();
  readonly history: Entry[] = [];
  /** Bytes after which each further answer is cut; when used up, answers are whole. */
  readonly cuts: number[];
  #version = 1;
  #compacted = 0;
  readonly #watching = new Set<(entry: Entry) => void>();

  constructor(cuts: readonly number[]) {
    this.cuts = [...cuts];
  }

  get version(): number {
    return this.#version;
  }

  write(name: string, kind: 'put' | 'delete'): void {
    const exists = this.state.has(name);
    if (kind === 'delete' && !exists) return;
    this.#version += 1;
    const type = kind === 'delete' ? 'DELETED' : exists ? 'MODIFIED' : 'ADDED';
    const entry = { type, name, version: this.#version } as const;
    if (kind === 'delete') this.state.delete(name);
    else this.state.set(name, this.#version);
    this.history.push(entry);
    for (const tell of this.#watching) tell(entry);
  }

  /** Back to an older state, as etcd restored from a snapshot: versions are used a second time. */
  restore(version: number): void {
    this.state.clear();
    this.history.splice(this.history.findLastIndex((entry) => entry.version <= version) + 1);
    for (const entry of this.history) {
      if (entry.type === 'DELETED') this.state.delete(entry.name);
      else this.state.set(entry.name, entry.version);
    }
    this.#version = version;
    this.#compacted = Math.min(this.#compacted, version);
    this.#watching.clear();
  }

  compact(): void {
    this.#compacted = this.#version;
  }

  readonly answer = (request: FakeRequest, response: ServerResponse): void => {
    response.writeHead(200, { 'content-type': 'application/json' });
    let left = this.cuts.shift() ?? Number.POSITIVE_INFINITY;
    const send = (type: string, metadata: object): void => {
      const bytes = Buffer.from(`${JSON.stringify({ type, object: { metadata } })}\n`);
      response.write(bytes.subarray(0, left));
      left -= bytes.length;
      if (left <= 0) response.destroy();
    };
    const tell = ({ type, name, version }: Entry): void => send(type, { name, resourceVersion: `${version}` });
    const from = request.query.get('resourceVersion');
    if (!request.query.has('watch')) {
      response.end(JSON.stringify({ metadata: { resourceVersion: `${this.#version}` }, items: [] }));
      return;
    }
    if (from === null) {
      for (const [name, version] of this.state) send('ADDED', { name, resourceVersion: `${version}` });
      send('BOOKMARK', { resourceVersion: `${this.#version}`, annotations: { 'k8s.io/initial-events-end': 'true' } });
    } else if (Number(from) < this.#compacted) {
      response.end(`${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } })}\n`);
      return;
    } else {
      for (const entry of this.history) if (entry.version > Number(from)) tell(entry);
    }
    this.#watching.add(tell);
    response.on('close', () => this.#watching.delete(tell));
  };
}

const action = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constantFrom('put' as const, 'delete' as const), name: fc.constantFrom(...NAMES) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('compact' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut' as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restore' as const), back: fc.integer({ min: 1, max: 9 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('pause' as const) }) },
);

test('whatever happens and wherever it is cut, the store ends in the state of the server, and its changes add up to it', async () => {
  const cuts = fc.array(fc.integer({ min: 1, max: 600 }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 60, size: 'max' }), cuts, async (actions, cutAt) => {
      const fakeHistory = new FakeHistory(cutAt);
      await using fake = await FakeApiServer.start(fakeHistory.answer);
      fake.currentVersion = undefined;
      const stop = new AbortController();
      const told = new Map<string, string>();
      const reflector = new Reflector<{ readonly name: string; readonly version: string }>({
        client: fake.client({ maxAttempts: 1 }),
        type: SECRETS,
        transform: ({ metadata }) => ({ name: metadata.name ?? '', version: metadata.resourceVersion ?? '' }),
        keyOf: ({ name }) => name,
        onChange: ({ previous, current }) => {
          const name = current?.name ?? previous?.name ?? '';
          assert.equal(told.get(name), previous?.version, 'a change begins where the last one ended');
          if (current === undefined) told.delete(name);
          else told.set(name, current.version);
        },
        // Back-offs run in real time here: a hundredth of them is enough.
        clock: {
          ...systemClock,
          setTimeout: (callback, ms) => systemClock.setTimeout(callback, ms < 60_000 ? ms / 100 : ms),
        },
        random: () => 0,
        log: recordingLogger(),
        observe: ({ kind }) => assert.notEqual(kind, 'handler-error'),
      });
      const ended = reflector.run(stop.signal);
      for (const one of actions) {
        if (one.kind === 'compact') fakeHistory.compact();
        else if (one.kind === 'cut') fake.cutAll();
        else if (one.kind === 'restore') {
          // The API server ends its watches when its etcd is gone.
          fakeHistory.restore(Math.max(1, fakeHistory.version - one.back));
          fake.cutAll();
          // Once the new history has overtaken the old one, no version shows the restore: the next write waits until it has been noticed.
          await eventually(
            'the restoration is noticed',
            async () => reflector.resourceVersion === `${fakeHistory.version}` || undefined,
            { intervalMs: 2 },
          );
        } else if (one.kind === 'pause') await settle();
        else fakeHistory.write(one.name, one.kind);
      }
      fakeHistory.write('a', 'put');
      fakeHistory.write('b', 'put');
      const expected = Object.fromEntries([...fakeHistory.state].map(([name, version]) => [name, `${version}`]));
      await eventually(
        'the store shows the last write',
        async () => reflector.resourceVersion === `${fakeHistory.version}` || undefined,
        { intervalMs: 2 },
      );
      assert.deepEqual(
        Object.fromEntries([...reflector.store.values()].map(({ name, version }) => [name, version])),
        expected,
      );
      assert.deepEqual(Object.fromEntries(told), expected);
      stop.abort();
      await ended;
    }),
    { numRuns: 60 },
  );
});
