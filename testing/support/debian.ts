import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CommandFailedError, run } from './processes.ts';

/** A package manager may wait long for a mirror; beyond this it is stuck. */
const INSTALL_TIMEOUT_MS = 900_000;
/** Where Debian puts programs for administrators; other users' PATH often lacks it. */
const SYSTEM_FOLDERS = ['/usr/local/sbin', '/usr/sbin', '/sbin'];

export interface Requirement {
  /** Commands on the PATH, and files by their absolute paths. */
  readonly needs: readonly string[];
  /** The Debian packages that bring them. */
  readonly packages: readonly string[];
}

/**
 * Installs the packages where something from them is missing. Resolves with what is wrong, as a sentence that says what to do, or
 * undefined when all is there.
 */
export async function ensurePackages({ needs, packages }: Requirement): Promise<string | undefined> {
  if (missing(needs).length === 0) return undefined;
  const wanted = `the packages ${packages.join(' ')} are needed`;
  if (process.platform !== 'linux' || !existsSync('/usr/bin/apt-get')) {
    return `${wanted}, and there is no apt-get to install them`;
  }
  if (process.getuid?.() !== 0) return `${wanted}: install them with apt-get (this user is not root)`;
  const failure = await install(packages);
  // Another process, which held apt-get's locks meanwhile, may have installed them.
  if (failure !== undefined && missing(needs).length > 0) return `${wanted}, and apt-get failed: ${failure}`;
  const stillMissing = missing(needs);
  return stillMissing.length === 0 ? undefined : `${stillMissing.join(', ')} not found after installation`;
}

/** The absolute path of a command, or undefined. */
export function findCommand(name: string): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), ...SYSTEM_FOLDERS];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

function missing(needs: readonly string[]): readonly string[] {
  return needs.filter((need) => (need.startsWith('/') ? !existsSync(need) : findCommand(need) === undefined));
}

/** The error, or undefined. */
async function install(packages: readonly string[]): Promise<string | undefined> {
  const options = ['-qq', '-o', 'DPkg::Lock::Timeout=600'];
  const installing = ['install', '-y', '--no-install-recommends', ...options, ...packages];
  try {
    await aptGet(installing);
  } catch {
    // The package lists may be missing or old; updating them takes a while, so only now.
    try {
      await aptGet(['update', ...options]);
      await aptGet(installing);
    } catch (error) {
      return lastLine(error);
    }
  }
  return undefined;
}

async function aptGet(words: readonly string[]): Promise<void> {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };
  await run('apt-get', words, { env, timeoutMs: INSTALL_TIMEOUT_MS });
}

function lastLine(error: unknown): string {
  const printed = error instanceof CommandFailedError ? error.stderr.trim() : '';
  return (printed || (error instanceof Error ? error.message : String(error))).split('\n').at(-1) ?? '';
}
