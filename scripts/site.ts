/**
 * Builds the documentation as a site in `dist/site`: every Markdown file of the project and what it links to, in the project's own
 * layout, so that the same links work on a forge and here. A dead link or anchor is an error.
 */
import { cp, glob, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildOnce } from '../testing/support/cache.ts';
import { ensurePackages } from '../testing/support/debian.ts';
import { run, tryRun } from '../testing/support/processes.ts';

const ROOT = join(import.meta.dirname, '..');
const PYTHON = 'python3';
const INSTALL_TIMEOUT_MS = 600_000;
const BUILD_TIMEOUT_MS = 300_000;
/** Generated, and of use only to Kubernetes and the tests. */
const LEFT_OUT = /^(test|src|bench|scripts|\.[a-z]+)\//;
/** Besides the pages, and what they link to. */
const FILES = /^docs\/|^examples\//;

export type Site =
  | { readonly built: true; readonly folder: string; readonly log: string }
  | { readonly built: false; readonly reason: string; readonly isFailure: boolean };

/** `isFailure`: the pages are wrong; otherwise the generator is not available here. */
export async function buildSite(folder: string): Promise<Site> {
  const missing = await ensurePackages({ needs: [PYTHON, 'pip3'], packages: ['python3', 'python3-pip'] });
  if (missing !== undefined) return { built: false, reason: missing, isFailure: false };
  const libraries = await install().catch((error: unknown) =>
    error instanceof Error ? error : new Error(String(error)),
  );
  if (libraries instanceof Error) return { built: false, reason: libraries.message, isFailure: false };
  const source = `${folder}-source`;
  await rm(source, { recursive: true, force: true });
  await rm(folder, { recursive: true, force: true });
  await stage(join(source, 'docs'));
  await cp(join(ROOT, 'site', 'mkdocs.yml'), join(source, 'mkdocs.yml'));
  await cp(join(ROOT, 'site', 'narrow.css'), join(source, 'docs', 'narrow.css'));
  const words = ['-m', 'mkdocs', 'build', '--strict', '--config-file', 'mkdocs.yml', '--site-dir', folder];
  const env = { ...process.env, PYTHONPATH: libraries, PYTHONDONTWRITEBYTECODE: '1', NO_MKDOCS_2_WARNING: '1' };
  const { status, stderr } = await tryRun(PYTHON, words, { cwd: source, env, timeoutMs: BUILD_TIMEOUT_MS });
  await rm(source, { recursive: true, force: true });
  if (status === 0) await bundleShim(folder);
  return status === 0 ? { built: true, folder, log: stderr } : { built: false, reason: stderr, isFailure: true };
}

async function install(): Promise<string> {
  const requirements = join(ROOT, 'site', 'requirements.txt');
  const version = (await run(PYTHON, ['--version'])).stdout;
  return await buildOnce('site', (await readFile(requirements, 'utf8')) + version, async (directory) => {
    const quiet = ['--quiet', '--disable-pip-version-check', '--no-cache-dir', '--root-user-action=ignore'];
    const words = ['-m', 'pip', 'install', ...quiet, '--no-deps', '--target', directory, '--requirement', requirements];
    await run(PYTHON, words, { timeoutMs: INSTALL_TIMEOUT_MS });
  });
}

async function stage(folder: string): Promise<void> {
  const { stdout } = await run('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: ROOT });
  const all = stdout.split('\0');
  const pages = all.filter((file) => file.endsWith('.md') && !LEFT_OUT.test(file));
  const linked = new Set(all.filter((file) => FILES.test(file) && !file.endsWith('.md')));
  const decisions: string[] = [];
  for (const file of pages) {
    const text = await readFile(join(ROOT, file), 'utf8');
    for (const target of targets(file, text)) if (all.includes(target) && !target.endsWith('.md')) linked.add(target);
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(join(folder, file), forGenerator(file, text, all));
    const [, title] = /^# (.*)$/m.exec(text) ?? [];
    if (file.startsWith('docs/adr/')) decisions.push(`- [${title}](${basename(file)})\n`);
  }
  for (const file of linked) await cp(join(ROOT, file), join(folder, file));
  await writeFile(join(folder, 'docs/adr/index.md'), `# Decisions\n\n${decisions.join('')}`);
}

/** A page opened as a file may not start a worker, which the search needs. The theme loads a replacement from a public host. */
const REMOTE_SHIM = 'https://unpkg.com/iframe-worker/shim';
const SHIM = 'assets/javascripts/iframe-worker.js';

async function bundleShim(folder: string): Promise<void> {
  await cp(fileURLToPath(import.meta.resolve('iframe-worker/shim/index.js')), join(folder, SHIM));
  for await (const file of glob('**/*.html', { cwd: folder })) {
    const page = join(folder, file);
    const up = '../'.repeat(file.split('/').length - 1);
    await writeFile(page, (await readFile(page, 'utf8')).replaceAll(REMOTE_SHIM, up + SHIM));
  }
}

const LINK = /\]\(([^)\s:#]+)(#[^)\s]*)?\)/g;

function targets(file: string, text: string): readonly string[] {
  return [...text.matchAll(LINK)].map(([, path = '']) => join(dirname(file), path));
}

/** Links that a forge resolves and the generator does not: to a folder, and to a file that is not part of the site. */
function forGenerator(file: string, text: string, files: readonly string[]): string {
  return text.replaceAll(LINK, (link, path: string, anchor = '') => {
    const target = join(dirname(file), path).replace(/\/$/, '');
    if (files.includes(target)) return link;
    if (target === 'docs/adr') return `](${path}/index.md)`;
    if (files.includes(`${target}/README.md`)) return `](${path}/README.md${anchor})`;
    const example = files.find((one) => one.startsWith(`${target}/`));
    if (example !== undefined) return `](${join(path, example.slice(target.length + 1))})`;
    return link;
  });
}

async function main(): Promise<void> {
  const site = await buildSite(join(ROOT, 'dist', 'site'));
  if (site.built) {
    process.stdout.write('dist/site: open dist/site/index.html\n');
    return;
  }
  process.stderr.write(`${site.reason}\n`);
  process.exitCode = 1;
}

if (import.meta.main) await main();
