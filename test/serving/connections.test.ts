import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import fc from 'fast-check';
import { type ClientConnection, Connections } from '../../src/serving/connections.ts';

class FakeConnection extends EventEmitter implements ClientConnection {
  readonly remoteAddress = '10.0.0.1';
  readonly remotePort: number;
  destroyed = false;

  constructor(remotePort: number) {
    super();
    this.remotePort = remotePort;
  }

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.emit('close');
  }
}

const opened = (connections: Connections, ports: readonly number[]) =>
  ports.map((port) => {
    const connection = new FakeConnection(port);
    connections.add(connection);
    return connection;
  });

test('at the limit a new connection replaces the oldest that has sent no request', () => {
  const connections = new Connections(3);
  const [used, first, second] = opened(connections, [1, 2, 3]) as [FakeConnection, FakeConnection, FakeConnection];
  connections.begin(used);
  connections.end(used);
  const [fourth] = opened(connections, [4]) as [FakeConnection];
  assert.deepEqual(
    [used, first, second, fourth].map(({ destroyed }) => destroyed),
    [false, true, false, false],
  );
  assert.equal(connections.size, 3);
});

test('where all have sent requests, it replaces the one idle for longest', () => {
  const connections = new Connections(2);
  const both = opened(connections, [1, 2]) as [FakeConnection, FakeConnection];
  for (const one of both) {
    connections.begin(one);
    connections.end(one);
  }
  connections.begin(both[0]);
  connections.end(both[0]);
  opened(connections, [3]);
  assert.deepEqual(
    both.map(({ destroyed }) => destroyed),
    [false, true],
  );
});

test('a connection in use is never replaced: with all of them in use, the new one is closed', () => {
  const connections = new Connections(2);
  const both = opened(connections, [1, 2]);
  for (const one of both) connections.begin(one);
  const [third] = opened(connections, [3]);
  assert.deepEqual(
    [...both, third].map((one) => one?.destroyed),
    [false, false, true],
  );
});

test('in every order of events there are never more than the limit', () => {
  const step = fc.record({ port: fc.nat(20), what: fc.constantFrom('open', 'begin', 'end', 'close') });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const connections = new Connections(4);
      const live = new Map<number, FakeConnection>();
      for (const { port, what } of steps) {
        const known = live.get(port);
        const connection = known === undefined || known.destroyed ? undefined : known;
        if (what === 'open' && connection === undefined) {
          const fresh = new FakeConnection(port);
          live.set(port, fresh);
          connections.add(fresh);
        } else if (connection !== undefined) {
          if (what === 'begin') connections.begin(connection);
          if (what === 'end') connections.end(connection);
          if (what === 'close') connection.destroy();
        }
        const open = [...live.values()].filter(({ destroyed }) => !destroyed);
        assert.ok(open.length <= 4);
        assert.equal(connections.size, open.length);
      }
    }),
  );
});
