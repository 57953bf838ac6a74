/** Finds the examples and renders them as a reader would. */
import { existsSync } from 'node:fs';
import { glob, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { loadAll } from 'js-yaml';
import { ensureBinaries } from '../../testing/controlplane/binaries.ts';
import { run } from '../../testing/support/processes.ts';
import { type Manifest, ROOT } from '../chart/chart.ts';

/** One unit that is applied. */
export interface Example {
  /** A path from the project's root, and what is special about it. */
  readonly name: string;
  readonly render: () => Promise<string>;
}

const SHOP = 'examples/helm/shop';

/** A chart is rendered twice: with the values that its README shows, and as a chart that does not know dcred. */
const CHARTS: readonly Example[] = [
  {
    name: `${SHOP}, with its own resource`,
    render: () =>
      helmTemplate(SHOP, ['--set', 'delegatedCredential.enabled=true,delegatedCredential.reload=signal:HUP:shop']),
  },
  {
    name: `${SHOP}, with examples/helm/values.yaml`,
    render: async () =>
      `${await read('examples/helm/credential.yaml')}---\n${await helmTemplate(SHOP, ['--values', 'examples/helm/values.yaml'])}`,
  },
];

/** Every Kustomization, the charts, and every YAML file that belongs to neither. */
export async function examples(): Promise<readonly Example[]> {
  const plain: Example[] = [];
  const kustomizations: Example[] = [];
  for (const path of await files('**/*.yaml')) {
    if (path.endsWith('/kustomization.yaml')) {
      const folder = dirname(path);
      const { kind } = (await manifests(await read(path)))[0] ?? {};
      if (kind === 'Kustomization') kustomizations.push({ name: folder, render: () => kustomize(folder) });
    } else if (!belongsToMore(path)) {
      plain.push({ name: path, render: () => read(path) });
    }
  }
  return [...plain, ...kustomizations, ...CHARTS];
}

function belongsToMore(path: string): boolean {
  if (path.startsWith('examples/helm/')) return true;
  for (let folder = dirname(path); folder !== 'examples'; folder = dirname(folder)) {
    if (existsSync(join(ROOT, folder, 'kustomization.yaml'))) return true;
  }
  return false;
}

/** Paths from the project's root. */
export async function files(pattern: string): Promise<readonly string[]> {
  const found: string[] = [];
  for await (const path of glob(`examples/${pattern}`, { cwd: ROOT })) found.push(path);
  return found.sort();
}

export async function read(path: string): Promise<string> {
  return await readFile(join(ROOT, path), 'utf8');
}

export async function manifests(text: string): Promise<readonly Manifest[]> {
  return (loadAll(text) as readonly (Manifest | null)[]).flatMap((one) => (one === null ? [] : [one]));
}

async function kustomize(folder: string): Promise<string> {
  const { kubectl } = await ensureBinaries(['kubectl']);
  return (await run(kubectl, ['kustomize', folder], { cwd: ROOT })).stdout;
}

async function helmTemplate(chart: string, args: readonly string[]): Promise<string> {
  const { helm } = await ensureBinaries(['helm']);
  return (await run(helm, ['template', 'shop', chart, ...args], { cwd: ROOT })).stdout;
}
