/**
 * Makes everything that a release consists of in `dist/release`, and publishes nothing: image, chart, SBOM, single executable, krew
 * manifest, release notes, checksums. From what `make build` and `make image` made. DCRED_RELEASE_URL: where the files will be.
 */
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { tar } from '../src/bundle/tar.ts';
import { KUBECTL_COMPLETION_FILE, kubectlCompletion } from '../src/cli/completion/completion.ts';
import { ensureBinaries } from '../testing/controlplane/binaries.ts';
import { run } from '../testing/support/processes.ts';
import { ARCHITECTURES } from './image.ts';
import { KREW_BINARY, krewManifest } from './krew.ts';
import { releaseNotes } from './release-notes.ts';
import { singleExecutable } from './single-executable.ts';

const ROOT = join(import.meta.dirname, '..');
const OUT = join(ROOT, 'dist', 'release');
const HOMEPAGE = 'https://dcred.dev';

export class ReleaseError extends Error {
  readonly code = 'Release';
  override readonly name = 'ReleaseError';
}

async function main(): Promise<void> {
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { readonly version: string };
  const arch = ARCHITECTURES[process.arch];
  if (arch === undefined) throw new ReleaseError(`expected x64 or arm64, found ${process.arch}`);
  const url = process.env['DCRED_RELEASE_URL'] ?? `${HOMEPAGE}/releases/v${version}`;
  await rm(OUT, { recursive: true, force: true });
  await mkdir(OUT, { recursive: true });

  const platform = `linux-${arch}`;
  await fromBuild('image.tar', `dcred-${version}-image-${platform}.tar`);
  await fromBuild('image-pkcs11.tar', `dcred-${version}-pkcs11-image-${platform}.tar`);
  await fromBuild('sbom.cdx.json', `dcred-${version}.sbom.cdx.json`);
  await fromBuild('sbom-pkcs11.cdx.json', `dcred-${version}-pkcs11.sbom.cdx.json`);
  await packageChart(version);
  const executable = await singleExecutable(version);
  await writeFile(join(OUT, `dcred-${version}-${platform}`), executable, { mode: 0o755 });
  const archive = gzipSync(
    tar([
      { type: 'file', path: KREW_BINARY, content: executable, mode: 0o755 },
      { type: 'file', path: KUBECTL_COMPLETION_FILE, content: Buffer.from(kubectlCompletion()), mode: 0o755 },
      { type: 'file', path: 'LICENSE', content: await readFile(join(ROOT, 'LICENSE')) },
    ]),
  );
  const name = `kubectl-dcred-${version}-${platform}.tar.gz`;
  await writeFile(join(OUT, name), archive);
  const krew = [{ os: 'linux', arch, uri: `${url}/${name}`, sha256: sha256(archive) }];
  await writeFile(join(OUT, 'dcred.yaml'), krewManifest(version, HOMEPAGE, krew));
  const changelog = await readFile(join(ROOT, 'CHANGELOG.md'), 'utf8');
  await writeFile(join(OUT, 'release-notes.md'), releaseNotes(changelog, version));
  await writeChecksums();
}

async function fromBuild(name: string, target: string): Promise<void> {
  await copyFile(join(ROOT, 'dist', name), join(OUT, target)).catch((cause: unknown) => {
    throw new ReleaseError(`dist/${name} does not exist: run "make build" and "make image" first`, { cause });
  });
}

async function packageChart(version: string): Promise<void> {
  const { helm } = await ensureBinaries(['helm']);
  const chart = join(ROOT, 'charts', 'dcred');
  await run(helm, ['package', chart, '--version', version, '--app-version', version, '--destination', OUT]);
}

/** As `sha256sum --check` reads them. */
async function writeChecksums(): Promise<void> {
  const names = (await readdir(OUT)).sort();
  const lines = await Promise.all(
    names.map(async (name) => {
      const content = await readFile(join(OUT, name));
      process.stdout.write(`dist/release/${name}: ${(content.length / 2 ** 20).toFixed(1)} MiB\n`);
      return `${sha256(content)}  ${name}\n`;
    }),
  );
  await writeFile(join(OUT, 'SHA256SUMS'), lines.join(''));
}

function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

if (import.meta.main) await main();
