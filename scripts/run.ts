/**
 * `make run`: the operator from sources, against the cluster of the current kubeconfig. Before that it checks that the CRDs there are
 * those of this checkout; `make run ARGS=--apply-crds` applies them. All other arguments go to `dcred operator`.
 */
import { spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { load } from 'js-yaml';
import { ApiError } from '../src/kubernetes/api-error.ts';
import { ApiClient } from '../src/kubernetes/client/api-client.ts';
import { systemClock } from '../src/kubernetes/clock.ts';
import { loadConnection } from '../src/kubernetes/connection/load-connection.ts';
import type { KubernetesObject } from '../src/kubernetes/objects.ts';
import type { ResourceType } from '../src/kubernetes/resource-type.ts';

const ROOT = join(import.meta.dirname, '..');
const CRDS: ResourceType = {
  group: 'apiextensions.k8s.io',
  version: 'v1',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
  namespaced: false,
};
const APPLY = '--apply-crds';
const TIMEOUT_MS = 30_000;
/** One operator on a developer's machine: no lease, and nothing that listens beyond loopback. A later flag wins. */
const DEFAULTS = [
  '--leader-elect=false',
  '--metrics-bind-address=127.0.0.1:8080',
  '--health-probe-bind-address=127.0.0.1:8081',
];

type Crd = KubernetesObject<{ readonly spec?: unknown }>;

/** Whether `found` has everything that `wanted` has; the API server adds its own defaults. */
function contains(found: unknown, wanted: unknown): boolean {
  if (typeof wanted !== 'object' || wanted === null) return Object.is(found, wanted);
  if (typeof found !== 'object' || found === null) return false;
  if (Array.isArray(wanted) && (!Array.isArray(found) || found.length !== wanted.length)) return false;
  return Object.entries(wanted).every(([key, value]) => contains((found as Record<string, unknown>)[key], value));
}

async function committedCrds(): Promise<readonly Crd[]> {
  const folder = join(ROOT, 'crds');
  const files = (await readdir(folder)).filter((file) => file.endsWith('.yaml')).sort();
  return await Promise.all(files.map(async (file) => load(await readFile(join(folder, file), 'utf8')) as Crd));
}

/** What is wrong with a CRD of the cluster, or undefined. */
async function problemOf(client: ApiClient, crd: Crd, signal: AbortSignal): Promise<string | undefined> {
  const { name = '' } = crd.metadata;
  try {
    const found = await client.get<Crd>(CRDS, { name }, { signal });
    return contains(found.spec, crd.spec) ? undefined : `${name} differs from this checkout's`;
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return `${name} is not there`;
    throw error;
  }
}

/** The two flags that say which cluster; the operator itself reads all of them. */
function clusterOptions(args: readonly string[]): { readonly kubeconfig?: string; readonly context?: string } {
  const { values } = parseArgs({
    args: [...args],
    options: { kubeconfig: { type: 'string' }, context: { type: 'string' } },
    strict: false,
  });
  return values as { readonly kubeconfig?: string; readonly context?: string };
}

async function prepare(args: readonly string[]): Promise<boolean> {
  const connection = await loadConnection({ ...clusterOptions(args), env: process.env });
  process.stderr.write(`the operator from sources, against ${connection.server}\n`);
  const settings = { userAgent: 'dcred-run', fieldManager: 'dcred-run', clock: systemClock, random: Math.random };
  const client = new ApiClient(connection, settings);
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  try {
    let isReady = true;
    for (const crd of await committedCrds()) {
      const problem = await problemOf(client, crd, signal);
      if (problem === undefined) continue;
      if (!args.includes(APPLY)) {
        process.stderr.write(`CustomResourceDefinition ${problem}: apply it by make run ARGS=${APPLY}\n`);
        isReady = false;
        continue;
      }
      await client.apply(CRDS, crd, { signal, force: true });
      process.stderr.write(`applied ${crd.metadata.name}\n`);
    }
    return isReady;
  } finally {
    await client.close();
  }
}

async function main(args: readonly string[]): Promise<number> {
  if (!(await prepare(args))) return 1;
  const words = [...DEFAULTS, ...args.filter((arg) => arg !== APPLY)];
  const child = spawn(process.execPath, [join(ROOT, 'src', 'main.ts'), 'operator', ...words], { stdio: 'inherit' });
  // Ctrl-C reaches the operator too, which then shuts down cleanly.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  return await new Promise((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
}

process.exitCode = await main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return 1;
});
