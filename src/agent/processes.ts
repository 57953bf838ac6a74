/** Processes from /proc. With `shareProcessNamespace: true`, those of the pod's other containers too. */
import { readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { constants } from 'node:os';
import { basename, join } from 'node:path';
import type { ReloadSignal } from '../api/reload-spec.ts';
import { readBeginning } from '../files/read-bounded.ts';
import type { Clock } from '../kubernetes/clock.ts';

export interface FoundProcess {
  readonly pid: number;
  readonly parent: number;
  readonly uid: number;
  /** Clock ticks since boot: with the pid, identifies a process. */
  readonly startTicks: number;
  /** Bit set of the signals it handles; bit 0 is signal 1. proc(5), SigCgt. */
  readonly caught: bigint;
}

/** USER_HZ: 100 on every architecture. */
const TICKS_PER_SECOND = 100;
/** `stat` and `status` are shorter; of a command line, which may have megabytes, only the first word counts. */
const MAX_TEXT_BYTES = 4_096;
/** /proc/PID/comm is truncated to this. */
const COMM_LENGTH = 15;

/**
 * The topmost processes of that name: a master signals its own workers, which have the same name. The name is the kernel's
 * (comm), or the base name of the first word of the command line.
 */
export async function findByName(name: string, proc = '/proc'): Promise<readonly FoundProcess[]> {
  const found = new Map<number, FoundProcess>();
  for (const entry of await readdir(proc)) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid || !(await isNamed(pid, name, proc))) continue;
    const one = await readProcess(pid, proc);
    if (one !== undefined) found.set(pid, one);
  }
  return [...found.values()].filter(({ parent }) => !found.has(parent));
}

/** Undefined for one that has exited, zombies included. */
export async function readProcess(pid: number, proc = '/proc'): Promise<FoundProcess | undefined> {
  const [stat, status] = await Promise.all([readText(pid, 'stat', proc), readText(pid, 'status', proc)]);
  const [state, parent, ...fields] = statFields(stat);
  if (state === undefined || state === '' || state === 'Z' || state === 'X') return undefined;
  return {
    pid,
    parent: Number(parent),
    // Field 22 of proc(5); `fields` begins with field 5.
    startTicks: Number(fields[17]),
    uid: Number(/^Uid:\s+\d+\s+(\d+)/m.exec(status)?.[1] ?? Number.NaN),
    caught: BigInt(`0x${/^SigCgt:\s+([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`),
  };
}

/** Whether it has a handler. Without one these signals terminate a process, or do nothing. */
export function catches({ caught }: Pick<FoundProcess, 'caught'>, signal: ReloadSignal): boolean {
  return (caught & (1n << BigInt(constants.signals[`SIG${signal}`] - 1))) !== 0n;
}

/**
 * Sends a signal to that very process: its pid may have been given to another one since it was found. Nothing else of this process
 * runs between the check and the signal.
 * @returns false when it has exited
 */
export function signalProcess({ pid, startTicks }: FoundProcess, name: NodeJS.Signals): boolean {
  if (startTicksOf(pid) !== startTicks) return false;
  process.kill(pid, name);
  return true;
}

function startTicksOf(pid: number): number | undefined {
  try {
    return Number(statFields(readFileSync(`/proc/${pid}/stat`, 'utf8'))[19]);
  } catch {
    return undefined;
  }
}

/** The fields of `stat` from the third on. The name is in parentheses and may contain some itself: they begin after the last. */
function statFields(stat: string): readonly string[] {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/** Whether the same process still runs, and not another with its pid. */
export async function isAlive({ pid, startTicks }: FoundProcess, proc = '/proc'): Promise<boolean> {
  return (await readProcess(pid, proc))?.startTicks === startTicks;
}

/** When it was started, in milliseconds since the epoch, to a clock tick. */
export function startedAt({ startTicks }: FoundProcess, clock: Pick<Clock, 'now' | 'monotonic'>): number {
  return bootTime(clock) + (startTicks / TICKS_PER_SECOND) * 1000;
}

/**
 * The wall clock's time at boot. Date and uptime are read one after the other: read again when this process was held up in
 * between. Synchronous for that reason; /proc never blocks.
 */
function bootTime(clock: Pick<Clock, 'now' | 'monotonic'>): number {
  for (let attempt = 1; ; attempt += 1) {
    const before = clock.monotonic();
    const now = clock.now();
    const uptimeMs = Number(readFileSync('/proc/uptime', 'utf8').split(' ', 1)[0]) * 1000;
    if (clock.monotonic() - before < 1_000 / TICKS_PER_SECOND || attempt === 5) return now - uptimeMs;
  }
}

async function isNamed(pid: number, name: string, proc: string): Promise<boolean> {
  const comm = (await readText(pid, 'comm', proc)).trimEnd();
  if (comm === name.slice(0, COMM_LENGTH) && name.length <= COMM_LENGTH) return true;
  const [first = ''] = (await readText(pid, 'cmdline', proc)).split('\0', 1);
  return first !== '' && basename(first) === name;
}

/** Empty when the process has exited meanwhile. */
async function readText(pid: number, file: string, proc: string): Promise<string> {
  return await readBeginning(join(proc, String(pid), file), MAX_TEXT_BYTES).catch(() => '');
}
