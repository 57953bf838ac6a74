/** Builds the parts of dcred that other projects can import, such as `dcred/credential`: JavaScript with declarations. */
import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const ROOT = join(import.meta.dirname, '..');

/** The entry points that `exports` in package.json names. */
const ENTRIES = ['src/credential/index.ts', 'src/credential/noble.ts', 'src/kubernetes/index.ts'];
/** Declarations that no source imports by name. */
const AMBIENT = ['src/kubernetes/client/undici-modules.d.ts'];

/** Writes the entries, and what they import of src/, into `outDir` as in src/. Rejects with tsc's output. 1 s. */
export async function buildLibraries(outDir: string): Promise<void> {
  await rm(outDir, { recursive: true, force: true });
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  const options = ['--noEmit', 'false', '--declaration', '--rewriteRelativeImportExtensions', '--ignoreConfig'];
  const settings = ['--target', 'es2024', '--module', 'nodenext', '--types', 'node', '--strict', '--skipLibCheck'];
  const libraries = ['--lib', 'es2024,esnext.disposable'];
  const places = ['--rootDir', join(ROOT, 'src'), '--outDir', outDir];
  await promisify(execFile)(
    process.execPath,
    [tsc, ...options, ...settings, ...libraries, ...places, ...ENTRIES, ...AMBIENT],
    { cwd: ROOT },
  );
}
