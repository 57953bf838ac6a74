/**
 * Searches the memory of a process, as a debugger would, and its JavaScript heap in a snapshot: what a stolen core dump would give
 * away. The former needs Linux and the permission to trace the process.
 */
import { createReadStream } from 'node:fs';
import { open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { eventually } from './processes.ts';

const CHUNK_BYTES = 1024 * 1024;

/** Which of these are in the process's readable memory. By name. */
export async function findInMemory(pid: number, needles: Readonly<Record<string, Buffer>>): Promise<readonly string[]> {
  const maps = await readFile(`/proc/${pid}/maps`, 'utf8');
  const regions = maps
    .split('\n')
    .map((line) => /^([0-9a-f]+)-([0-9a-f]+) r.*?(\[v[a-z]+\])?$/.exec(line))
    .flatMap((match) => (match === null || match[3] !== undefined ? [] : [[match[1] ?? '', match[2] ?? ''] as const]));
  const found = new Set<string>();
  await using memory = await open(`/proc/${pid}/mem`, 'r');
  const longest = Math.max(...Object.values(needles).map(({ length }) => length));
  const buffer = Buffer.alloc(CHUNK_BYTES + longest);
  for (const [start, end] of regions) {
    const [from, to] = [BigInt(`0x${start}`), BigInt(`0x${end}`)];
    // Each piece overlaps the next by the length of a needle.
    for (let at = from; at < to; at += BigInt(CHUNK_BYTES)) {
      const length = Math.min(buffer.length, Number(to - at));
      // Some mapped pages cannot be read.
      const read = await memory.read(buffer, 0, length, at).catch(() => undefined);
      const piece = buffer.subarray(0, read?.bytesRead ?? 0);
      for (const [name, needle] of Object.entries(needles)) if (piece.includes(needle)) found.add(name);
    }
  }
  return [...found].sort();
}

/** Which of these texts are in the heap of a process that was started with `--heapsnapshot-signal=SIGUSR2` in this folder. */
export async function findInHeap(
  pid: number,
  directory: string,
  needles: Readonly<Record<string, string>>,
): Promise<readonly string[]> {
  const file = await heapSnapshot(pid, directory);
  const found = new Set<string>();
  let before = '';
  for await (const chunk of createReadStream(file, { encoding: 'utf8', highWaterMark: CHUNK_BYTES })) {
    const piece = before + (chunk as string);
    for (const [name, needle] of Object.entries(needles)) if (piece.includes(needle)) found.add(name);
    before = piece.slice(-1024);
  }
  await rm(file);
  return [...found].sort();
}

/** Has such a process collect all its garbage, which it does before it writes a snapshot. */
export async function collectGarbage(pid: number, directory: string): Promise<void> {
  await rm(await heapSnapshot(pid, directory));
}

async function heapSnapshot(pid: number, directory: string): Promise<string> {
  process.kill(pid, 'SIGUSR2');
  return await eventually('a heap snapshot', async () => {
    const name = (await readdir(directory)).find((one) => one.endsWith('.heapsnapshot'));
    if (name === undefined) return undefined;
    // Complete once its end is there: the list of strings, in which a quote has a backslash before it.
    const text = await tail(join(directory, name));
    return /[^\\]"\]\}\s*$/.test(text) ? join(directory, name) : undefined;
  });
}

async function tail(path: string): Promise<string> {
  await using file = await open(path, 'r');
  const { size } = await file.stat();
  const length = Math.min(size, 16);
  const { buffer } = await file.read(Buffer.alloc(length), 0, length, size - length);
  return buffer.toString();
}
