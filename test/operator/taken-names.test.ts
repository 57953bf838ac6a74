import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { systemClock } from '../../src/kubernetes/clock.ts';
import { SECRETS } from '../../src/kubernetes/resource-type.ts';
import { TakenNames } from '../../src/operator/taken-names.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { settle } from '../../testing/support/fake-clock.ts';
import { eventually } from '../../testing/support/processes.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';
import { operatorsClient } from './cluster.ts';

const signal = new AbortController().signal;
let plane: ControlPlane;
let client: ApiClient;

before(async () => {
  plane = await startControlPlane();
  client = await operatorsClient(plane);
});
after(async () => {
  await client?.close();
  await plane?.stop();
});

test('a Secret that is deleted enqueues the pods that wait for its name, and no others', async () => {
  const stop = new AbortController();
  const log = recordingLogger();
  const freed: string[] = [];
  const names = new TakenNames({
    engine: { client, clock: systemClock, random: Math.random, log },
    namespaces: [],
    log,
    onFree: (key) => void freed.push(key),
    signal: stop.signal,
  });
  try {
    for (const name of ['one', 'two'])
      await client.create(SECRETS, { metadata: { namespace: 'default', name } }, { signal });
    names.wait('default/web/a', 'default/one');
    names.wait('default/web/b', 'default/one');
    names.wait('default/web/c', 'default/two');
    names.wait('default/web/d', 'default/one');
    names.release('default/web/d');
    await client.delete(SECRETS, { namespace: 'default', name: 'one' }, { signal });
    await eventually('both to be woken', async () => (freed.length >= 2 ? true : undefined));
    assert.deepEqual([...new Set(freed)].sort(), ['default/web/a', 'default/web/b']);
    for (const key of ['a', 'b', 'c']) names.release(`default/web/${key}`);
    assert.equal(names.size, 0);
  } finally {
    stop.abort();
    await names.ended();
  }
});

test('the pods of a namespace that another replica serves now wait here no longer, and no Secret is watched for them', async () => {
  const stop = new AbortController();
  const log = recordingLogger();
  const ended: string[] = [];
  const silent = {
    list: async () => ({ metadata: { resourceVersion: '1' }, items: [] }),
    async *watch(_type: unknown, selection: { fieldSelector: string }, { signal: until }: { signal: AbortSignal }) {
      yield { type: 'BOOKMARK', object: { metadata: { resourceVersion: '1' } } };
      await new Promise((resolve) => until.addEventListener('abort', resolve, { once: true }));
      ended.push(selection.fieldSelector);
    },
  } as unknown as ApiClient;
  const engine = { client: silent, clock: systemClock, random: Math.random, log };
  const names = new TakenNames({ engine, namespaces: [], log, onFree: () => {}, signal: stop.signal });
  try {
    for (const namespace of ['lost', 'kept']) {
      for (const pod of ['a', 'b']) names.wait(`${namespace}/web/${pod}`, `${namespace}/taken-in-${namespace}`);
    }
    await settle();
    names.releaseNamespaces((namespace) => namespace === 'lost');
    assert.equal(names.size, 1);
    await settle();
    assert.deepEqual(ended, ['metadata.name=taken-in-lost']);
  } finally {
    stop.abort();
    await names.ended();
  }
});
