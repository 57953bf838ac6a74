/** What is known of namespaces that are read one by one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ApiClient } from '../../../src/kubernetes/client/api-client.ts';
import { Namespaces } from '../../../src/operator/grants/namespaces.ts';
import { FakeClock } from '../../../testing/support/fake-clock.ts';
import { missing, notServed } from '../../../testing/support/not-found.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';

const EDGE = { metadata: { name: 'edge', uid: 'uid-of-edge', labels: { tier: 'edge' } } };

test("a proxy's page in the place of a namespace changes nothing that is known of it; an answer that it is gone does", async () => {
  const clock = new FakeClock();
  const log = recordingLogger();
  const stop = new AbortController();
  const server: { answer: typeof EDGE | Error } = { answer: EDGE };
  const client = {
    get: async () => {
      if (server.answer instanceof Error) throw server.answer;
      return server.answer;
    },
  } as unknown as ApiClient;
  const changes: (string | undefined)[] = [];
  const namespaces = new Namespaces({
    engine: { client, clock, random: () => 0.5, log },
    namespaces: ['edge'],
    log,
    onChange: (name) => void changes.push(name),
    signal: stop.signal,
  });
  assert.equal(namespaces.get('edge'), undefined);
  await clock.advanceAsync(0);
  assert.deepEqual(namespaces.get('edge'), EDGE.metadata);

  changes.length = 0;
  server.answer = notServed();
  await clock.advanceAsync(120_000);
  assert.deepEqual([namespaces.get('edge'), changes], [EDGE.metadata, []]);

  server.answer = missing('edge');
  await clock.advanceAsync(30_000);
  assert.deepEqual(namespaces.get('edge'), { name: 'edge', uid: undefined, labels: undefined });
  assert.deepEqual(changes, ['edge']);
  stop.abort();
  await namespaces.ended();
});
