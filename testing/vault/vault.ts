/**
 * A real Vault: its own core, HTTP API, transit engine and Kubernetes authentication, from Vault's Go module, with storage in memory. A
 * program of 100 lines, whose first build takes minutes.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { BinariesError, builtBinaries, ensureBuilt, type GoModule } from '../controlplane/go-module.ts';
import { freePort } from '../support/ports.ts';
import { endChild } from '../support/processes.ts';

const MODULE: GoModule<'vault'> = {
  name: 'vault',
  directory: import.meta.dirname,
  packages: { vault: '.' },
  sources: ['main.go'],
  flags: () => ['-ldflags', '-s -w'],
  instead: '',
};

/** Where a transit engine is, at `transit/`. */
export interface TransitServer {
  readonly url: string;
  readonly rootToken: string;
}

export type FoundVault =
  | { readonly available: true; readonly start: () => Promise<TransitServer & AsyncDisposable> }
  | { readonly available: false; readonly reason: string };

/** It is built where DCRED_VAULT=1 wants it, and used wherever it was built before. */
export async function findVault(): Promise<FoundVault> {
  const { env } = process;
  const isBuilt = (await builtBinaries(MODULE, ['vault'], env)).length > 0;
  if (!isBuilt && env['DCRED_VAULT'] !== '1') {
    return { available: false, reason: 'set DCRED_VAULT=1: the first run builds Vault, which takes minutes' };
  }
  try {
    const binary = join(await ensureBuilt(MODULE, ['vault']), 'vault');
    return { available: true, start: () => start(binary) };
  } catch (error) {
    if (error instanceof BinariesError) return { available: false, reason: error.message };
    throw error;
  }
}

async function start(binary: string): Promise<TransitServer & AsyncDisposable> {
  const address = `127.0.0.1:${await freePort()}`;
  const child = spawn(binary, [address], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    // It says so once it listens.
    const [line] = await Promise.race([
      once(createInterface({ input: child.stdout }), 'line'),
      once(child, 'exit').then(() => Promise.reject(new Error('Vault ended at its start'))),
    ]);
    const { rootToken } = JSON.parse(String(line)) as { readonly rootToken: string };
    const server = { url: `http://${address}`, rootToken, [Symbol.asyncDispose]: () => endChild(child) };
    await callVault(server, 'POST', 'sys/mounts/transit', { type: 'transit' });
    return server;
  } catch (error) {
    await endChild(child);
    throw error;
  }
}

/** As its administrator. Rejects where the answer is an error. */
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
