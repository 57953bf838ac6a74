import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { endChild } from '../../../testing/support/processes.ts';

const CLOCK = new URL('../../../testing/support/steppable-clock.ts', import.meta.url).href;
/** Answers every message but a step with the readings of its clocks, and ends on "end". */
const PROGRAM = `
  process.on('message', (message) => {
    if (message === 'end') process.exit(0);
    if (message !== 'now') return;
    process.send({ now: Date.now(), date: new Date().getTime(), text: Date(), fixed: new Date(0).getTime(), up: performance.now(), is: new Date() instanceof Date });
  });
  process.channel.ref();
`;
const HOUR_MS = 3_600_000;

test("steps a program's wall clock, and nothing else", async () => {
  const child = spawn(process.execPath, ['--import', CLOCK, '--eval', PROGRAM], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const ask = async (message: unknown) => {
    const answer = once(child, 'message');
    child.send(message as object);
    return (await answer)[0];
  };
  try {
    const first = await ask('now');
    assert.deepEqual(await ask({ stepClockMs: HOUR_MS }), { steppedClockMs: HOUR_MS });
    const second = await ask('now');
    for (const clock of ['now', 'date']) assert.ok(second[clock] - first[clock] >= HOUR_MS, clock);
    assert.ok(Date.parse(second.text) - Date.parse(first.text) >= HOUR_MS);
    assert.ok(second.up - first.up < HOUR_MS, 'timers do not move');
    assert.deepEqual([second.fixed, second.is], [0, true]);
    await ask({ stepClockMs: -2 * HOUR_MS });
    assert.ok((await ask('now')).now < second.now);
    child.send('end');
    assert.deepEqual(await once(child, 'exit'), [0, null]);
  } finally {
    await endChild(child);
  }
});
