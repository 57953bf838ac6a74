/**
 * A real Vault: its own core, HTTP API, transit engine and Kubernetes authentication, from Vault's Go module, with storage in memory. A
 * program of 100 lines.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { buildOnce, cacheDirectory } from '../support/cache.ts';
import { freePort } from '../support/ports.ts';
import { endChild, run } from '../support/processes.ts';

const MODULE = 'github.com/hashicorp/vault';
const FILES = ['go.mod', 'go.sum', 'main.go', 'transit/shim.go'] as const;
const FLAGS = ['-trimpath', '-ldflags', '-s -w'] as const;
const BUILD_TIMEOUT_MS = 60 * 60_000;
/** As in a later SDK; here it returns only the error. */
const RESTORED = {
  there: 'restoredKeyName, err := b.lm.RestorePolicy(',
  here: 'restoredKeyName, err := keyName, b.lm.RestorePolicy(',
};

/** Where a transit engine is, at `transit/`. */
export interface TransitServer {
  readonly url: string;
  readonly rootToken: string;
}

export interface VaultServer extends TransitServer, AsyncDisposable {
  /** Its only unseal key. */
  readonly unsealKey: string;
}

export type FoundVault =
  | { readonly available: true; readonly start: () => Promise<VaultServer> }
  | { readonly available: false; readonly reason: string };

/** Built only with DCRED_VAULT=1 (eight minutes of CPU), and used wherever it was built before. */
export async function findVault(): Promise<FoundVault> {
  const texts = await Promise.all(FILES.map((file) => readFile(join(import.meta.dirname, file), 'utf8')));
  const key = [...texts, ...FLAGS, process.platform, process.arch].join('\0');
  if (process.env['DCRED_VAULT'] !== '1' && !existsSync(cacheDirectory('vault', key))) {
    return { available: false, reason: 'set DCRED_VAULT=1: the first run builds Vault, which takes minutes' };
  }
  try {
    const folder = await buildOnce('vault', key, build);
    return { available: true, start: () => start(join(folder, 'vault')) };
  } catch (error) {
    return { available: false, reason: `Vault: ${error instanceof Error ? error.message : String(error)}` };
  }
}

/**
 * Vault's release branch has its own SDK, which is not published as a module: the core compiles with an older published one, and the
 * transit engine needs a newer one. So the engine is copied out of the module, and two of its calls are bridged, neither of which signs.
 */
async function build(folder: string): Promise<void> {
  const env = { ...process.env, CGO_ENABLED: '0', GOWORK: 'off' };
  const source = join(folder, 'source');
  await mkdir(join(source, 'transit'), { recursive: true });
  for (const file of FILES) await copyFile(join(import.meta.dirname, file), join(source, file));
  const options = { cwd: source, env, timeoutMs: BUILD_TIMEOUT_MS };
  const { Dir: module } = JSON.parse((await run('go', ['mod', 'download', '-json', MODULE], options)).stdout);
  const engine = join(module as string, 'builtin', 'logical', 'transit');
  for (const file of await readdir(engine)) {
    if (!file.endsWith('.go') || file.endsWith('_test.go')) continue;
    const text = await readFile(join(engine, file), 'utf8');
    await writeFile(join(source, 'transit', file), text.replace(RESTORED.there, RESTORED.here));
  }
  await run('go', ['build', ...FLAGS, '-o', join(folder, 'vault'), '.'], options);
  await rm(source, { recursive: true });
}

async function start(binary: string): Promise<VaultServer> {
  const address = `127.0.0.1:${await freePort()}`;
  const child = spawn(binary, [address], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    // It prints this once it listens.
    const [line] = await Promise.race([
      once(createInterface({ input: child.stdout }), 'line'),
      once(child, 'exit').then(() => Promise.reject(new Error('Vault ended at its start'))),
    ]);
    const started = JSON.parse(String(line)) as Pick<VaultServer, 'rootToken' | 'unsealKey'>;
    const server = { url: `http://${address}`, ...started, [Symbol.asyncDispose]: () => endChild(child) };
    await callVault(server, 'POST', 'sys/mounts/transit', { type: 'transit' });
    return server;
  } catch (error) {
    await endChild(child);
    throw error;
  }
}

/** Calls it as its administrator. Rejects where the answer is an error. */
export async function callVault(
  { rootToken, url }: TransitServer,
  method: 'GET' | 'POST',
  path: string,
  body?: object,
): Promise<Readonly<Record<string, unknown>>> {
  const answer = await fetch(`${url}/v1/${path}`, {
    method,
    headers: { 'x-vault-token': rootToken },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: HTTP ${answer.status} ${text}`);
  return text === '' ? {} : JSON.parse(text);
}
