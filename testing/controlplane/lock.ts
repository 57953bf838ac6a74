import { randomUUID } from 'node:crypto';
import { readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { isAlive } from '../support/processes.ts';

const HEARTBEAT_MS = 5_000;
/** Six missed heartbeats: the owner is gone. Needed where it ran in another container, where its process id means nothing. */
const DEAD_AFTER_MS = 30_000;
const RETRY_MS = 250;

interface Owner {
  readonly pid: number;
  readonly host: string;
  readonly id: string;
}

/**
 * Does `work` while holding the lock file at `path`. A lock whose owner died is taken over. Two waiters may, in a window
 * of microseconds, both take over the same dead lock: so doing `work` twice must be safe, if wasteful.
 */
export async function withLock<T>(
  path: string,
  options: { readonly onWait?: (elapsedMs: number) => void },
  work: () => Promise<T>,
): Promise<T> {
  const me: Owner = { pid: process.pid, host: hostname(), id: randomUUID() };
  const began = Date.now();
  while (!(await acquire(path, me))) {
    if (await ownerIsDead(path)) {
      await discard(path, me);
      continue;
    }
    options.onWait?.(Date.now() - began);
    await delay(RETRY_MS);
  }
  const heartbeat = setInterval(() => void beat(path), HEARTBEAT_MS);
  heartbeat.unref();
  try {
    return await work();
  } finally {
    clearInterval(heartbeat);
    if ((await readOwner(path))?.id === me.id) await rm(path, { force: true });
  }
}

async function acquire(path: string, me: Owner): Promise<boolean> {
  try {
    await writeFile(path, JSON.stringify(me), { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function ownerIsDead(path: string): Promise<boolean> {
  const [owner, age] = await Promise.all([readOwner(path), fileAge(path)]);
  if (age === undefined) return false;
  if (owner !== undefined && owner.host === hostname() && !isAlive(owner.pid)) return true;
  return age > DEAD_AFTER_MS;
}

/** Renamed before it is removed: of several waiters only one succeeds, the others check again. */
async function discard(path: string, me: Owner): Promise<void> {
  const aside = `${path}.${me.id}`;
  const moved = await rename(path, aside).then(
    () => true,
    () => false,
  );
  if (moved) await rm(aside, { force: true });
}

/** Undefined when there is no lock, or its owner has not finished writing it. */
async function readOwner(path: string): Promise<Owner | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Owner;
  } catch {
    return undefined;
  }
}

async function fileAge(path: string): Promise<number | undefined> {
  return stat(path).then(
    ({ mtimeMs }) => Date.now() - mtimeMs,
    () => undefined,
  );
}

async function beat(path: string): Promise<void> {
  const now = new Date();
  await utimes(path, now, now).catch(() => {});
}
