/** Writes the generated files that are committed. `--check` writes nothing and fails when one is stale. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { crdFiles } from '../src/api/crd-yaml.ts';
import { apiReference } from './api-reference.ts';
import { chartFiles } from './chart-files.ts';
import { dashboards } from './dashboards/model.ts';

const ROOT = join(import.meta.dirname, '..');

interface Generated {
  readonly path: string;
  readonly content: string;
}

export async function generated(): Promise<readonly Generated[]> {
  const crds = crdFiles().map(({ name, yaml }) => ({ path: `crds/${name}`, content: yaml }));
  const api = { path: 'docs/api.md', content: apiReference(crds.map(({ content }) => content)) };
  return [...crds, ...(await chartFiles(ROOT)), ...dashboards(), api];
}

/** The files whose content differs from what would be generated now. */
export async function stale(): Promise<readonly Generated[]> {
  const outcome: Generated[] = [];
  for (const file of await generated()) {
    const present = await readFile(join(ROOT, file.path), 'utf8').catch(() => undefined);
    if (present !== file.content) outcome.push(file);
  }
  return outcome;
}

async function main(check: boolean): Promise<void> {
  for (const { path, content } of await stale()) {
    if (check) {
      process.stderr.write(`${path} is stale: run "npm run generate"\n`);
      process.exitCode = 1;
      continue;
    }
    await mkdir(dirname(join(ROOT, path)), { recursive: true });
    await writeFile(join(ROOT, path), content);
    process.stdout.write(`wrote ${path}\n`);
  }
}

if (import.meta.main) await main(process.argv.includes('--check'));
