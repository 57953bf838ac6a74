import type { EventEmitter } from 'node:events';

const SIGNALS = ['SIGTERM', 'SIGINT'] as const;

/**
 * Aborts at the first signal that asks the process to stop. From then on nothing listens to either, so that a second one ends the
 * process at once, as an impatient person expects.
 * @param emitter the process
 */
export function stopSignal(emitter: EventEmitter): AbortSignal {
  const stop = new AbortController();
  const onSignal = () => {
    for (const signal of SIGNALS) emitter.off(signal, onSignal);
    stop.abort();
  };
  for (const signal of SIGNALS) emitter.on(signal, onSignal);
  return stop.signal;
}
