/** SoftHSM 2, a PKCS#11 token in software, from Debian; and the add-on that reaches it, compiled once and kept in the cache. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addonKey, compileAddon, installAddon } from '../../scripts/pkcs11-addon.ts';
import { buildOnce } from '../support/cache.ts';
import { ensurePackages } from '../support/debian.ts';
import { run } from '../support/processes.ts';

const LIBRARY = '/usr/lib/softhsm/libsofthsm2.so';
const FAULTY_SOURCE = join(import.meta.dirname, 'faulty-token.c');

export type SoftHsm =
  | {
      readonly available: true;
      /** A fresh token store in its own folder. */
      readonly createStore: () => TokenStore;
      /** A library in front of SoftHSM's that fails on demand, as no software token can be made to. */
      readonly faultyLibrary: string;
    }
  | { readonly available: false; readonly reason: string };

let found: Promise<SoftHsm> | undefined;

/** Installs and compiles what is missing, or says why that is not possible. Once per process. */
export function findSoftHsm(): Promise<SoftHsm> {
  found ??= find();
  return found;
}

async function find(): Promise<SoftHsm> {
  const needs = [LIBRARY, 'softhsm2-util', 'g++', '/usr/include/stdio.h'];
  const reason = await ensurePackages({ needs, packages: ['softhsm2', 'g++', 'libc6-dev'] });
  if (reason !== undefined) return { available: false, reason };
  const addon = await buildOnce('pkcs11js', await addonKey(), (folder) => compileAddon(join(folder, 'pkcs11.node')));
  await installAddon(join(addon, 'pkcs11.node'));
  const faulty = await buildOnce('faulty-token', await readFile(FAULTY_SOURCE, 'utf8'), async (folder) => {
    const includes = join(import.meta.dirname, '..', '..', 'node_modules', 'pkcs11js', 'includes');
    const flags = ['-shared', '-fPIC', '-O2', '-Wall', '-Wextra', '-Werror', '-I', includes];
    await run('gcc', [...flags, '-o', join(folder, 'faulty-token.so'), FAULTY_SOURCE, '-ldl']);
  });
  return { available: true, createStore, faultyLibrary: join(faulty, 'faulty-token.so') };
}

export interface TokenStore extends Disposable {
  readonly env: NodeJS.ProcessEnv;
  readonly folder: string;
  readonly pin: string;
  /** A new token. */
  initialise(label: string): Promise<void>;
  /** Puts a PKCS#8 key, with its public half, on a token. `id` in hexadecimal. */
  importKey(key: {
    readonly token: string;
    readonly label: string;
    readonly id: string;
    readonly pem: string;
  }): Promise<void>;
  /** Removes all tokens, and puts them back. */
  remove(): void;
  restore(): void;
  uri(parts: {
    readonly token?: string;
    readonly object?: string;
    readonly id?: string;
    readonly library?: string;
    readonly pin?: string;
  }): string;
}

function createStore(): TokenStore {
  const folder = mkdtempSync(join(tmpdir(), 'dcred-softhsm-'));
  const [tokens, config, pinFile] = ['tokens', 'softhsm2.conf', 'pin'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  mkdirSync(tokens);
  const configure = (directory: string) =>
    writeFileSync(config, `directories.tokendir = ${directory}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  configure(tokens);
  const pin = '1234';
  writeFileSync(pinFile, `${pin}\n`, { mode: 0o600 });
  const env = { ...process.env, SOFTHSM2_CONF: config };
  const util = (...words: readonly string[]) => run('softhsm2-util', words, { env });
  return {
    env,
    folder,
    pin,
    async initialise(label) {
      await util('--init-token', '--free', '--label', label, '--so-pin', '5678', '--pin', pin);
    },
    async importKey({ id, label, pem, token }) {
      const file = join(folder, `key-${readdirSync(folder).length}.pem`);
      writeFileSync(file, pem, { mode: 0o600 });
      await util('--import', file, '--token', token, '--label', label, '--id', id, '--pin', pin);
      rmSync(file);
    },
    remove() {
      mkdirSync(join(folder, 'empty'), { recursive: true });
      configure(join(folder, 'empty'));
    },
    restore() {
      configure(tokens);
    },
    uri({ id, library = LIBRARY, object, pin: given = `pin-source=${pinFile}`, token }) {
      const path = [
        ...(token === undefined ? [] : [`token=${encodeURIComponent(token)}`]),
        ...(object === undefined ? [] : [`object=${encodeURIComponent(object)}`]),
        ...(id === undefined ? [] : [`id=%${id}`]),
      ];
      return `pkcs11:${path.join(';')}?module-path=${library}${given === '' ? '' : `&${given}`}`;
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}
