/** The processes of the pod, from /proc. With `shareProcessNamespace: true`, those of its other containers too. */
import { readdir, readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { basename, join } from 'node:path';
import type { ReloadSignal } from '../api/reload-spec.ts';

export interface FoundProcess {
  readonly pid: number;
  readonly parent: number;
  readonly uid: number;
  /** Clock ticks since the machine's start: with the pid, tells two processes apart. */
  readonly startTicks: number;
  /** The signals that it has handlers for, as a set of bits; the first is signal 1. proc(5), SigCgt. */
  readonly caught: bigint;
}

/** Linux tells user space a hundred ticks a second on every architecture (USER_HZ). */
const TICKS_PER_SECOND = 100;
/** /proc/PID/comm is cut to this. */
const COMM_LENGTH = 15;

/**
 * The topmost processes of that name: a server's workers, which have the name of the master that made them, are the master's to
 * tell. The name is that of the executable as the kernel has it, or the last part of the first word of the command line.
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

/** Undefined for one that has ended, waited for or not. */
export async function readProcess(pid: number, proc = '/proc'): Promise<FoundProcess | undefined> {
  const [stat, status] = await Promise.all([readText(pid, 'stat', proc), readText(pid, 'status', proc)]);
  // The name stands in parentheses, and may itself hold some: the fields begin after the last.
  const [state, parent, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
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

/** Whether it has a handler. Without one these signals end a process, or do nothing. */
export function catches({ caught }: Pick<FoundProcess, 'caught'>, signal: ReloadSignal): boolean {
  return (caught & (1n << BigInt(constants.signals[`SIG${signal}`] - 1))) !== 0n;
}

/** Whether it is still that very process. */
export async function isAlive({ pid, startTicks }: FoundProcess, proc = '/proc'): Promise<boolean> {
  return (await readProcess(pid, proc))?.startTicks === startTicks;
}

/** Milliseconds since the epoch, to a hundredth of a second. */
export async function startedAt({ startTicks }: FoundProcess, nowMs: number, proc = '/proc'): Promise<number> {
  const uptime = Number((await readFile(join(proc, 'uptime'), 'utf8')).split(' ', 1)[0]);
  return nowMs - (uptime - startTicks / TICKS_PER_SECOND) * 1000;
}

async function isNamed(pid: number, name: string, proc: string): Promise<boolean> {
  const comm = (await readText(pid, 'comm', proc)).trimEnd();
  if (comm === name.slice(0, COMM_LENGTH) && name.length <= COMM_LENGTH) return true;
  const [first = ''] = (await readText(pid, 'cmdline', proc)).split('\0', 1);
  return first !== '' && basename(first) === name;
}

/** Empty when the process has gone meanwhile. */
async function readText(pid: number, file: string, proc: string): Promise<string> {
  return await readFile(join(proc, String(pid), file), 'utf8').catch(() => '');
}
