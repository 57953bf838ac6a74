/** What a process has used so far, from Linux's /proc. */
import { readFile } from 'node:fs/promises';

export interface Usage {
  readonly cpuSeconds: number;
  /** Bytes read and written by system calls: for a client of a server, nearly all of it goes over its connections. */
  readonly bytes: number;
}

/** Linux's USER_HZ, the same on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

export async function usageOf(pid: number): Promise<Usage> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // Field 2, the command's name in parentheses, may contain spaces: what follows the last parenthesis begins with field 3.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const cpuSeconds = (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  const io = await readFile(`/proc/${pid}/io`, 'utf8');
  const count = (name: string) => Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(io)?.[1]);
  return { cpuSeconds, bytes: count('rchar') + count('wchar') };
}

export function difference(before: Usage, after: Usage): Usage {
  return { cpuSeconds: after.cpuSeconds - before.cpuSeconds, bytes: after.bytes - before.bytes };
}

export interface Memory {
  readonly rssMb: number;
  /** The peak since the process started. */
  readonly peakMb: number;
}

export async function memoryOf(pid: number): Promise<Memory> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const megabytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) / 1024;
  return { rssMb: megabytes('VmRSS'), peakMb: megabytes('VmHWM') };
}
