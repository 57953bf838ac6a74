/** A mounted Secret as a kubelet keeps it, in the test's own directory, and credentials to put into it. */
import { lutimes, mkdir, mkdtemp, readdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { credentialFiles } from '../../src/credential/files.ts';
import { issueCredential } from '../../src/credential/issue.ts';
import type { Usage } from '../../src/credential/scheme.ts';
import { type Delegation, delegation } from '../../testing/support/builders.ts';

export type SecretFiles = ReadonlyMap<string, string | Uint8Array>;

let made: Delegation | undefined;

/** One certificate for all tests of a file: making one takes OpenSSL a while. */
function certificate(): Delegation {
  made ??= delegation();
  return made;
}

/** What an issued Secret holds, with a new key every time. */
export async function credential(
  { usage = 'Server', lifetimeSeconds = 3600 }: { usage?: Usage; lifetimeSeconds?: number } = {},
  from: Delegation = certificate(),
): Promise<SecretFiles> {
  const key = await generateCredentialKey('ECDSAP256');
  const now = Math.floor(Date.now() / 1000);
  const { certificate: leaf, signer } = from;
  const issued = await issueCredential({ certificate: leaf, signer, key, usage, lifetimeSeconds, now });
  return credentialFiles({ certificate: leaf, key, issued });
}

/** Of the first version's links. Every later one is mounted a minute after the one before, however soon the test puts it. */
const SET_UP_AT = Date.UTC(2026, 10, 23, 21) / 1000;

/** Follows `pkg/volume/util/atomic_writer.go` in what is visible from outside: a new directory, one rename, the old directory removed. */
export class Mount {
  readonly directory: string;
  #version = 0;
  #swaps = 0;
  #present: string | undefined;

  constructor(directory: string) {
    this.directory = directory;
  }

  /** Swaps the files in. Returns the new version's name. */
  async put(files: SecretFiles): Promise<string> {
    this.#version += 1;
    const name = `..2026_11_23_21_00_00.${String(this.#version).padStart(9, '0')}`;
    await mkdir(join(this.directory, name), { mode: 0o755 });
    for (const [file, content] of files) await writeFile(join(this.directory, name, file), content);
    await this.swap(name, files);
    return name;
  }

  /** Points the mount at a directory that exists already. */
  async swap(name: string, files: SecretFiles): Promise<void> {
    const at = SET_UP_AT + 60 * this.#swaps;
    this.#swaps += 1;
    await symlink(name, join(this.directory, '..data_tmp'));
    await lutimes(join(this.directory, '..data_tmp'), at, at);
    await rename(join(this.directory, '..data_tmp'), join(this.directory, '..data'));
    const links = await readdir(this.directory);
    for (const file of files.keys()) {
      if (links.includes(file)) continue;
      await symlink(join('..data', file), join(this.directory, file));
      await lutimes(join(this.directory, file), at, at);
    }
    if (this.#present !== undefined) await rm(join(this.directory, this.#present), { recursive: true });
    this.#present = name;
  }
}

/** An empty mount, readable by every user, removed after the test. */
export async function emptyMount(t: Pick<TestContext, 'after'>): Promise<Mount> {
  const parent = await mkdtemp(join(tmpdir(), 'dcred-agent-'));
  t.after(() => rm(parent, { recursive: true, force: true }));
  const directory = join(parent, 'web');
  await mkdir(directory, { mode: 0o755 });
  const { chmod } = await import('node:fs/promises');
  await chmod(parent, 0o755);
  return new Mount(directory);
}
