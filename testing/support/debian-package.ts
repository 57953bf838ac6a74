/** Programs of a Debian package, without installing it: as any user, and no service is started. */
import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { buildOnce } from './cache.ts';
import { findCommand } from './debian.ts';
import { CommandFailedError, run } from './processes.ts';

const DOWNLOAD_TIMEOUT_MS = 300_000;

export type Fetched =
  | { readonly available: true; readonly root: string }
  | { readonly available: false; readonly reason: string };

/** The unpacked package, below `root` as it would be below `/`. Kept in the cache; only this package, not what it depends on. */
export async function fetchPackage(name: string): Promise<Fetched> {
  if (!existsSync('/usr/bin/apt-get') || findCommand('dpkg-deb') === undefined) {
    return { available: false, reason: `the Debian package ${name} is needed, and there is no apt-get to download it` };
  }
  try {
    // The release, not the version: any version in this Debian will do, and need not be fetched again with each update.
    const release = (await run('dpkg', ['--print-architecture'])).stdout.trim() + (await debianVersion());
    const root = await buildOnce(`debian-${name}`, release, async (directory) => {
      await download(name, directory);
      const archive = (await readdir(directory)).find((file) => file.endsWith('.deb'));
      if (archive === undefined) throw new Error(`apt-get downloaded no package ${name}`);
      await run('dpkg-deb', ['-x', join(directory, archive), directory]);
      await rm(join(directory, archive));
    });
    return { available: true, root };
  } catch (error) {
    const printed = error instanceof CommandFailedError ? error.stderr.trim() : '';
    const last = (printed || String(error)).split('\n').at(-1) ?? '';
    return { available: false, reason: `the Debian package ${name} is needed, and downloading it failed: ${last}` };
  }
}

async function debianVersion(): Promise<string> {
  return (await run('cat', ['/etc/debian_version'])).stdout.trim();
}

async function download(name: string, directory: string): Promise<void> {
  const options = { cwd: directory, env: { ...process.env, LC_ALL: 'C' }, timeoutMs: DOWNLOAD_TIMEOUT_MS };
  try {
    await run('apt-get', ['-qq', 'download', name], options);
  } catch (error) {
    // The package lists may be missing or old; only root may update them.
    if (process.getuid?.() !== 0) throw error;
    await run('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=120', 'update'], options);
    await run('apt-get', ['-qq', 'download', name], options);
  }
}
