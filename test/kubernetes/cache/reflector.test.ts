/** The reflector: against a real API server that goes away, and a fake one that cuts what a real one does not. */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  type Change,
  Reflector,
  type ReflectorEvent,
  type ReflectorOptions,
} from '../../../src/kubernetes/cache/reflector.ts';
import type { ApiClient } from '../../../src/kubernetes/client/api-client.ts';
import { systemClock } from '../../../src/kubernetes/clock.ts';
import type { KubernetesObject } from '../../../src/kubernetes/objects.ts';
import { type ResourceType, SECRETS } from '../../../src/kubernetes/resource-type.ts';
import { type ControlPlane, startControlPlane } from '../../../testing/controlplane/control-plane.ts';
import { FakeClock } from '../../../testing/support/fake-clock.ts';
import { eventually } from '../../../testing/support/processes.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';
import { clientFor, FakeApiServer, type FakeHandler, json, refusal, stream } from '../clients.ts';

const CONFIG_MAPS: ResourceType = {
  group: '',
  version: 'v1',
  plural: 'configmaps',
  kind: 'ConfigMap',
  namespaced: true,
};
const signal = new AbortController().signal;

interface Seen {
  readonly key: string;
  readonly label: string;
}

/** A reflector that runs, what it reported, and a way to wait for a state of its store. */
function reflecting(client: ApiClient, options: Partial<ReflectorOptions<Seen>> = {}) {
  const log = recordingLogger();
  const changes: string[] = [];
  const events: ReflectorEvent[] = [];
  const stop = new AbortController();
  const reflector = new Reflector<Seen>({
    client,
    type: SECRETS,
    namespace: 'default',
    metadataOnly: true,
    transform: ({ metadata }) => ({ key: metadata.name ?? '', label: metadata.labels?.['label'] ?? '' }),
    keyOf: ({ key }) => key,
    indexes: { label: ({ label }) => [label] },
    clock: systemClock,
    random: () => 0,
    log,
    ...options,
    onChange: (change) => {
      changes.push(described(change));
      options.onChange?.(change);
    },
    observe: (event) => events.push(event),
  });
  const ended = reflector.run(stop.signal);
  const until = (holds: () => boolean): Promise<unknown> =>
    eventually(String(holds), async () => holds() || undefined, { intervalMs: 5 });
  return {
    reflector,
    changes,
    events,
    log,
    until,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await ended;
    },
  };
}

function described({ previous, current }: Change<Seen>): string {
  if (previous === undefined) return `+${current?.key}`;
  return current === undefined ? `-${previous.key}` : `~${current.key}`;
}

describe('with a real API server', () => {
  let plane: ControlPlane;
  let client: ApiClient;

  before(async () => {
    plane = await startControlPlane();
    client = await clientFor(plane.kubeconfig);
  });
  after(async () => {
    await client?.close();
    await plane?.stop();
  });

  function create(name: string, label = 'none', type: ResourceType = SECRETS) {
    return client.create(type, { metadata: { namespace: 'default', name, labels: { label } } }, { signal });
  }

  const relabel = (name: string, label: string) =>
    client.mergePatch(SECRETS, { namespace: 'default', name }, { metadata: { labels: { label } } }, { signal });
  const remove = (name: string) => client.delete(SECRETS, { namespace: 'default', name }, { signal });

  test('holds what there was and follows what happens', async () => {
    await create('there');
    await using it = reflecting(client);
    await it.reflector.synced;
    assert.deepEqual(it.changes, ['+there']);
    assert.ok(it.reflector.hasSynced);
    const { metadata } = await create('new', 'red');
    assert.ok(metadata.resourceVersion !== undefined);
    await it.until(() => it.reflector.isAtLeast(metadata.resourceVersion ?? ''));
    assert.deepEqual(it.reflector.store.byIndex('label', 'red'), [{ key: 'new', label: 'red' }]);
    await relabel('new', 'blue');
    await it.until(() => it.reflector.store.byIndex('label', 'blue').length === 1);
    assert.deepEqual(it.reflector.store.byIndex('label', 'red'), []);
    await remove('new');
    await remove('there');
    await it.until(() => it.reflector.store.size === 0);
    assert.deepEqual(it.changes, ['+there', '+new', '~new', '-new', '-there']);
  });

  test('an object that stops matching its selector is gone', async () => {
    await create('selected', 'yes');
    await using it = reflecting(client, { labelSelector: 'label=yes' });
    await it.reflector.synced;
    await relabel('selected', 'no');
    await it.until(() => it.reflector.store.size === 0);
    await remove('selected');
  });

  test('lists in pages where lists do not stream', async () => {
    const names = Array.from({ length: 620 }, (_, i) => `page-${i}`);
    await Promise.all(names.map((name) => create(name, 'page', CONFIG_MAPS)));
    await using it = reflecting(client, { type: CONFIG_MAPS, labelSelector: 'label=page' });
    await it.reflector.synced;
    assert.equal(it.reflector.store.size, names.length);
    // The same from a server that refuses to stream, as before 1.32.
    await using fake = await FakeApiServer.start(async (request, response) => {
      if (request.query.get('sendInitialEvents') === 'true') return refusal(422, 'Invalid')(request, response);
      if (request.query.get('watch') === 'true') return stream([], 'silence')(request, response);
      const limit = Number(request.query.get('limit'));
      const token = request.query.get('continue');
      const page = await client.list(
        CONFIG_MAPS,
        {
          labelSelector: 'label=page',
          limit,
          metadataOnly: true,
          ...(token !== null && { continue: token }),
        },
        { signal },
      );
      return json(200, page)(request, response);
    });
    await using paged = reflecting(fake.client(), { type: CONFIG_MAPS });
    await paged.reflector.synced;
    assert.equal(paged.reflector.store.size, names.length);
    assert.equal(fake.requests.filter(({ query }) => query.has('limit')).length, 2);
    assert.equal(paged.log.lines.filter(({ level }) => level !== 'debug').length, 0);
  });

  test('catches up when the API server was killed and came back, deletions included', async () => {
    for (const name of ['stays', 'goes', 'changes']) await create(name);
    await using it = reflecting(client);
    await it.reflector.synced;
    const before = it.changes.length;
    await plane.stopApiServer({ signal: 'SIGKILL' });
    await it.until(() => it.events.some(({ kind }) => kind === 'failure'));
    await plane.startApiServer();
    // The reflector may have resumed or listed again by now: the result must be the same.
    await remove('goes');
    await relabel('changes', 'changed');
    await create('comes');
    await it.until(() => it.reflector.store.get('comes') !== undefined);
    assert.deepEqual([...it.reflector.store.keys()].toSorted(), ['changes', 'comes', 'stays']);
    assert.equal(it.reflector.store.get('changes')?.label, 'changed');
    assert.deepEqual(it.changes.slice(before).toSorted(), ['+comes', '-goes', '~changes']);
    for (const name of ['stays', 'changes', 'comes']) await remove(name);
  });

  test('a deletion that it could not see is reported when the server no longer has its version', async () => {
    for (const name of ['stays', 'goes']) await create(name);
    let away = false;
    const real: FakeHandler = async (request, response) => {
      if (away) {
        response.destroy();
        return;
      }
      const { query } = request;
      response.writeHead(200, { 'content-type': 'application/json' });
      const version = query.get('resourceVersion');
      // The fake is in between: it answers a watch that resumes with 410, version expired.
      if (version !== null) {
        response.end(
          `${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' } })}\n`,
        );
        return;
      }
      const stop = new AbortController();
      response.on('close', () => stop.abort());
      try {
        for await (const event of client.watch(
          SECRETS,
          { namespace: 'default', sendInitialEvents: true, metadataOnly: true },
          { signal: stop.signal },
        )) {
          response.write(`${JSON.stringify(event)}\n`);
        }
      } catch {
        response.end();
      }
    };
    await using fake = await FakeApiServer.start(real);
    await using it = reflecting(fake.client({ maxAttempts: 1 }));
    await it.reflector.synced;
    away = true;
    fake.cutAll();
    await it.until(() => it.events.some(({ kind }) => kind === 'failure'));
    await remove('goes');
    away = false;
    await it.until(() => it.changes.includes('-goes'));
    assert.deepEqual(it.changes, ['+goes', '+stays', '-goes']);
    assert.ok(it.events.some(({ reason }) => reason === 'Expired'));
    await remove('stays');
  });

  test('follows an etcd that was restored to a snapshot, whose versions go back', async () => {
    await using own = await startControlPlane();
    const ownClient = await clientFor(own.kubeconfig);
    const make = (name: string) => ownClient.create(SECRETS, { metadata: { namespace: 'default', name } }, { signal });
    await make('kept');
    const snapshot = await own.saveSnapshot();
    await using it = reflecting(ownClient);
    await it.reflector.synced;
    for (let count = 0; count < 30; count++) await make(`lost-${count}`);
    await it.until(() => it.reflector.store.size === 31);
    await own.restoreSnapshot(snapshot);
    await it.until(() => it.reflector.store.size === 1);
    await make('after');
    await it.until(() => it.reflector.store.size === 2);
    assert.deepEqual([...it.reflector.store.keys()].toSorted(), ['after', 'kept']);
    await ownClient.close();
  });

  test('waits for a permission that it does not have yet', async () => {
    const outsider = await clientFor(await plane.kubeconfigFor({ user: 'outsider' }));
    await using it = reflecting(outsider);
    await it.until(() => it.events.some(({ reason }) => reason === 'Forbidden'));
    assert.ok(!it.reflector.hasSynced);
    await plane.kubectl(['create', 'role', 'reader', '--verb=list,watch', '--resource=secrets']);
    await plane.kubectl(['create', 'rolebinding', 'reader', '--role=reader', '--user=outsider']);
    await it.reflector.synced;
    assert.ok(it.log.lines.some(({ level, fields }) => level === 'warn' && fields['reason'] === 'Forbidden'));
    await outsider.close();
  });
});

describe('with a fake API server', () => {
  function object(name: string, version: number, label = ''): KubernetesObject {
    return { metadata: { namespace: 'default', name, resourceVersion: `${version}`, labels: { label } } };
  }
  const line = (type: string, ...rest: Parameters<typeof object>) =>
    `${JSON.stringify({ type, object: object(...rest) })}\n`;
  const listEnd = (version: number) =>
    `${JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: `${version}`, annotations: { 'k8s.io/initial-events-end': 'true' } } } })}\n`;
  const bookmark = (version: number) =>
    `${JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: `${version}` } } })}\n`;
  const expired = `${JSON.stringify({ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' } })}\n`;
  const labels = (it: ReturnType<typeof reflecting>) =>
    [...it.reflector.store.values()].map(({ key, label }) => `${key}${label}`);
  const isSilent = (fake: FakeApiServer, count: number) => () => fake.requests.length >= count;

  test('a streaming list that is cut in the middle changes nothing, neither the first one nor a later one', async () => {
    await using fake = await FakeApiServer.start(
      stream([line('ADDED', 'ghost', 1)], 'cut'),
      stream([line('ADDED', 'a', 1), line('ADDED', 'b', 2), listEnd(5)], 'end'),
      stream([expired], 'end'),
      stream([line('ADDED', 'a', 1), line('ADDED', 'ghost', 3)], 'cut'),
      stream([line('ADDED', 'b', 2), listEnd(9)], 'silence'),
    );
    await using it = reflecting(fake.client());
    await it.reflector.synced;
    assert.deepEqual(it.changes, ['+a', '+b']);
    await it.until(() => it.reflector.resourceVersion === '9');
    assert.deepEqual(it.changes, ['+a', '+b', '-a']);
  });

  test('what changes while a list streams is in the list', async () => {
    await using fake = await FakeApiServer.start(
      stream(
        [
          line('ADDED', 'a', 1),
          bookmark(1),
          line('ADDED', 'b', 2),
          line('DELETED', 'a', 3),
          line('MODIFIED', 'b', 4, '!'),
          bookmark(4),
          listEnd(4),
        ],
        'silence',
      ),
    );
    await using it = reflecting(fake.client());
    await it.reflector.synced;
    assert.deepEqual(it.changes, ['+b']);
    assert.deepEqual(labels(it), ['b!']);
  });

  test('it resumes from the last version, whether of a list, an event or a bookmark', async () => {
    await using fake = await FakeApiServer.start(
      stream([listEnd(5)], 'end'),
      stream([line('ADDED', 'a', 7)], 'cut'),
      stream([bookmark(11)], 'end'),
      stream([], 'silence'),
    );
    await using it = reflecting(fake.client());
    await it.until(isSilent(fake, 4));
    assert.deepEqual(
      fake.requests.map(({ query }) => query.get('resourceVersion')),
      [null, '5', '7', '11'],
    );
    assert.deepEqual(
      fake.requests.map(({ query }) => query.get('sendInitialEvents')),
      ['true', null, null, null],
    );
    assert.ok(fake.requests.every(({ query }) => query.get('allowWatchBookmarks') === 'true'));
    assert.ok(fake.requests.every(({ query }) => Number(query.get('timeoutSeconds')) >= 300));
    assert.equal(fake.requests[0]?.headers.accept, 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1');
  });

  test('events that are older than what is stored are ignored, compared as numbers', async () => {
    await using fake = await FakeApiServer.start(
      stream(
        [
          line('ADDED', 'a', 10, 'new'),
          listEnd(10),
          line('MODIFIED', 'a', 9, 'old'),
          line('DELETED', 'a', 8),
          line('MODIFIED', 'a', 10, 'same'),
          line('ADDED', 'end', 11),
        ],
        'silence',
      ),
    );
    await using it = reflecting(fake.client());
    await it.until(() => it.reflector.store.size === 2);
    assert.deepEqual(it.changes, ['+a', '+end']);
    assert.deepEqual(labels(it), ['anew', 'end']);
    assert.ok(it.reflector.isAtLeast('9'));
    assert.ok(!it.reflector.isAtLeast('100'));
  });

  test('after 410 it lists again and reports the differences, and only them', async () => {
    await using fake = await FakeApiServer.start(
      stream([line('ADDED', 'same', 1), line('ADDED', 'changed', 2), line('ADDED', 'gone', 3), listEnd(5)], 'end'),
      refusal(410, 'Expired'),
      stream([line('ADDED', 'same', 1), line('ADDED', 'changed', 8), line('ADDED', 'new', 9), listEnd(9)], 'silence'),
    );
    await using it = reflecting(fake.client());
    await it.until(() => it.reflector.resourceVersion === '9');
    assert.deepEqual(it.changes.slice(3), ['-gone', '~changed', '+new']);
  });

  test('the list is the truth even where its versions are older, as after a restore of etcd', async () => {
    await using fake = await FakeApiServer.start(
      stream([line('ADDED', 'a', 1000, 'lost'), listEnd(1000)], 'end'),
      refusal(410, 'Expired'),
      stream([line('ADDED', 'a', 10, 'restored'), listEnd(10)], 'silence'),
    );
    await using it = reflecting(fake.client());
    await it.until(() => it.reflector.resourceVersion === '10');
    assert.deepEqual(labels(it), ['arestored']);
  });

  test('pages that expire are requested again in one piece', async () => {
    const page = (items: readonly KubernetesObject[], more?: string) =>
      json(200, { metadata: { resourceVersion: '5', ...(more !== undefined && { continue: more }) }, items });
    await using fake = await FakeApiServer.start(
      refusal(422, 'Invalid'),
      page([object('a', 1)], 'next'),
      refusal(410, 'Expired'),
      page([object('a', 1), object('b', 2)]),
      stream([], 'silence'),
    );
    await using it = reflecting(fake.client());
    await it.reflector.synced;
    assert.deepEqual(it.changes, ['+a', '+b']);
    assert.deepEqual(
      fake.requests.slice(1, 4).map(({ query }) => query.get('limit')),
      ['500', '500', null],
    );
  });

  test('a server that ignores the request to stream is listed page by page', async () => {
    await using fake = await FakeApiServer.start(
      stream([line('ADDED', 'a', 1)], 'silence'),
      json(200, { metadata: { resourceVersion: '5' }, items: [object('a', 1)] }),
      stream([], 'silence'),
    );
    await using it = reflecting(fake.client(), { quietMs: 100 });
    await it.reflector.synced;
    assert.deepEqual(it.changes, ['+a']);
  });

  for (const [what, answer] of [
    ['goes on with events and bookmarks until its time is over', [line('ADDED', 'a', 1), bookmark(1), bookmark(5)]],
    ['is over at once', []],
    ['holds what cannot be read', ['<html></html>\n']],
  ] as const) {
    test(`a server that ignores the request to stream, and whose watch ${what}, is listed page by page`, async () => {
      await using fake = await FakeApiServer.start(
        stream(answer, 'end'),
        json(200, { metadata: { resourceVersion: '5' }, items: [object('a', 1)] }),
        stream([expired], 'end'),
        json(200, { metadata: { resourceVersion: '8' }, items: [object('b', 7)] }),
        stream([], 'silence'),
      );
      await using it = reflecting(fake.client());
      await it.until(() => it.reflector.resourceVersion === '8');
      assert.deepEqual(it.changes, ['+a', '-a', '+b']);
      // It is not asked again for what it does not know.
      assert.deepEqual(
        fake.requests.map(({ query }) => query.has('sendInitialEvents')),
        [true, false, false, false, ...(fake.requests.length === 5 ? [false] : [])],
      );
    });
  }

  test('a watch that is silent for too long is dropped and resumed', async () => {
    await using fake = await FakeApiServer.start(
      stream([listEnd(5)], 'silence'),
      stream([line('ADDED', 'a', 6)], 'silence'),
    );
    const clock = new FakeClock();
    await using it = reflecting(fake.client({ clock }), { clock, quietMs: 100 });
    await it.reflector.synced;
    await clock.advanceAsync(99);
    assert.equal(fake.requests.length, 1);
    await eventually('the next watch', async () => {
      await clock.advanceAsync(100);
      return it.reflector.store.size === 1 || undefined;
    });
    assert.equal(fake.requests[1]?.query.get('resourceVersion'), '5');
  });

  test('a handler that throws, and an object that cannot be read, are logged and do no harm', async () => {
    const unreadable = `${JSON.stringify({ type: 'ADDED', object: { metadata: { name: 'odd', resourceVersion: '6' } } })}\n`;
    await using fake = await FakeApiServer.start(
      stream([line('ADDED', 'a', 1), unreadable, listEnd(5), unreadable, line('ADDED', 'b', 7)], 'silence'),
    );
    await using it = reflecting(fake.client(), {
      transform: ({ metadata }) => {
        if (metadata.name === 'odd') throw new Error('odd');
        return { key: metadata.name ?? '', label: '' };
      },
      onChange: () => {
        throw new Error('thrown');
      },
    });
    await it.until(() => it.reflector.store.size === 2);
    assert.deepEqual(it.changes, ['+a', '+b']);
    const messages = it.log.lines.map(({ message }) => message);
    assert.equal(messages.filter((message) => message === 'failed to handle a change').length, 2);
    assert.equal(messages.filter((message) => message === 'skipping undecodable object').length, 2);
  });

  test('a list that succeeds and a watch that is refused at once is a failure: each round waits longer', async () => {
    const list = [line('ADDED', 'a', 1), listEnd(5)];
    await using fake = await FakeApiServer.start(stream([...list, expired], 'end'));
    const clock = new FakeClock();
    await using it = reflecting(fake.client({ clock }), { clock });
    let rounds = 2;
    await it.until(() => fake.requests.length === rounds);
    for (const ms of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
      await it.until(() => it.events.filter(({ kind }) => kind === 'failure').length === rounds);
      await clock.advanceAsync(ms - 1);
      assert.equal(fake.requests.length, rounds);
      await clock.advanceAsync(1);
      rounds += 1;
      await it.until(() => fake.requests.length === rounds);
    }
    assert.deepEqual(it.changes, ['+a']);
  });

  test('a server that was restored to an older version is noticed before a watch is resumed, and listed', async () => {
    await using fake = await FakeApiServer.start(
      stream([line('ADDED', 'a', 900, 'lost'), line('ADDED', 'b', 12, 'same version'), listEnd(1000)], 'cut'),
      stream([line('ADDED', 'a', 10, 'restored'), line('ADDED', 'b', 12, 'other history'), listEnd(500)], 'silence'),
    );
    fake.currentVersion = '500';
    await using it = reflecting(fake.client());
    await it.until(() => it.reflector.resourceVersion === '500');
    assert.deepEqual(labels(it), ['arestored', 'bother history']);
    assert.equal(fake.requests[1]?.query.get('sendInitialEvents'), 'true');
    assert.ok(it.reflector.isAtLeast('1000'), 'no caller waits for a write of the lost history');
    assert.ok(!it.reflector.isAtLeast('1001'));
  });

  test('a bookmark that is older than the store means that the server was restored', async () => {
    await using fake = await FakeApiServer.start(
      stream([line('ADDED', 'a', 900), listEnd(1000), bookmark(505)], 'silence'),
      stream([listEnd(506)], 'silence'),
    );
    await using it = reflecting(fake.client());
    await it.until(() => it.reflector.resourceVersion === '506');
    assert.deepEqual(it.changes, ['+a', '-a']);
  });

  test('a page that is too large is requested again in smaller ones, down to one object', async () => {
    const objects = Array.from({ length: 5 }, (_, index) => object(`n${index}`, index + 1));
    const limits: number[] = [];
    const pages: FakeHandler = (request, response) => {
      const limit = Number(request.query.get('limit'));
      const from = Number(request.query.get('continue') ?? 0);
      limits.push(limit);
      const items = objects.slice(from, from + limit);
      const more = from + limit < objects.length ? `${from + limit}` : undefined;
      // More than two at once are larger than a client reads.
      const ballast = items.length > 2 ? 'x'.repeat(17 * 1024 * 1024) : '';
      return json(200, { metadata: { resourceVersion: '5', continue: more }, items, ballast })(request, response);
    };
    await using fake = await FakeApiServer.start(refusal(422, 'Invalid'), pages);
    fake.currentVersion = undefined;
    await using it = reflecting(fake.client());
    await it.reflector.synced;
    assert.equal(it.reflector.store.size, 5);
    assert.deepEqual(limits.slice(0, 5), [500, 125, 31, 7, 1]);
  });

  for (const [what, page] of [
    ['leads to itself', { metadata: { resourceVersion: '5', continue: 'same' }, items: [{ metadata: { name: 'a' } }] }],
    ['is empty and goes on', { metadata: { resourceVersion: '5', continue: 'more' }, items: [] }],
  ] as const) {
    test(`a list whose page ${what} is a failure, not a loop`, async () => {
      await using fake = await FakeApiServer.start(refusal(422, 'Invalid'), json(200, page));
      const clock = new FakeClock();
      await using it = reflecting(fake.client({ clock }), { clock });
      await it.until(() => it.events.some(({ reason }) => reason === 'InvalidResponse'));
      assert.ok(fake.requests.length <= 3);
      assert.ok(!it.reflector.hasSynced);
    });
  }

  test('items of a list that are not objects are skipped', async () => {
    const items = [null, 7, 'x', {}, object('a', 1)];
    await using fake = await FakeApiServer.start(
      refusal(422, 'Invalid'),
      json(200, { metadata: { resourceVersion: '5' }, items }),
      stream([], 'silence'),
    );
    await using it = reflecting(fake.client());
    await it.reflector.synced;
    assert.deepEqual(it.changes, ['+a']);
  });

  test('it can be run only once', async () => {
    await using fake = await FakeApiServer.start(stream([listEnd(5)], 'silence'));
    await using it = reflecting(fake.client());
    await assert.rejects(it.reflector.run(signal), TypeError);
  });
});
