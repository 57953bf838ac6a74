import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { stopSignal } from '../../src/cli/stop-signal.ts';

for (const first of ['SIGTERM', 'SIGINT'] as const) {
  test(`${first} aborts, and leaves the next signal of either kind to end the process`, () => {
    const emitter = new EventEmitter();
    const signal = stopSignal(emitter);
    assert.equal(signal.aborted, false);
    emitter.emit(first);
    assert.equal(signal.aborted, true);
    assert.deepEqual(emitter.eventNames(), []);
  });
}
