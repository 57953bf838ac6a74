/**
 * Loaded by `node --import` before a program: the program's wall clock can then be stepped from outside, as NTP or an administrator
 * steps one. The parent process sends `{stepClockMs}` over the IPC channel; it is acknowledged once it is in effect. Timers
 * and `performance.now()` do not move, and OpenSSL still reads the machine's clock.
 */

const MachineDate = Date;
let offsetMs = 0;

globalThis.Date = new Proxy(MachineDate, {
  construct: (target, args, newTarget) =>
    Reflect.construct(target, args.length === 0 ? [target.now() + offsetMs] : args, newTarget),
  apply: (target) => new target(target.now() + offsetMs).toString(),
  get: (target, property) =>
    property === 'now' ? () => target.now() + offsetMs : Reflect.get(target, property, target),
});

process.on('message', (message) => {
  const { stepClockMs } = message as { readonly stepClockMs?: unknown };
  if (typeof stepClockMs !== 'number') return;
  offsetMs += stepClockMs;
  process.send?.({ steppedClockMs: offsetMs });
});
// The channel alone does not keep the program alive.
process.channel?.unref();
