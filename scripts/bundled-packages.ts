/** The third-party packages in the bundle, as esbuild's metafile names their files: their licences, and an SBOM. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface BundledPackage {
  /** `node_modules/undici`; a nested copy has its own path. */
  readonly path: string;
  readonly name: string;
  readonly version: string;
  /** An SPDX expression. */
  readonly license: string;
  /** `sha512-...`, as the lockfile pins it. */
  readonly integrity: string;
  /** URL of its repository; packages published from one repository share it. */
  readonly repository: string | undefined;
}

/** A package that has no licence, and so must not be shipped. */
export class UnlicensedPackageError extends Error {
  readonly code = 'UnlicensedPackage';
  override readonly name = 'UnlicensedPackageError';
}

/** The folder of the package that a file is in; undefined for a file of the project. */
export function packagePath(file: string): string | undefined {
  return /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(file)?.[0];
}

/** Sorted by path. `files` are relative to `root`. Throws UnlicensedPackageError. */
export async function bundledPackages(root: string, files: readonly string[]): Promise<readonly BundledPackage[]> {
  const paths = [...new Set(files.flatMap((file) => packagePath(file) ?? []))].sort();
  const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8')) as {
    readonly packages: Readonly<Record<string, { readonly integrity?: string } | undefined>>;
  };
  return await Promise.all(
    paths.map(async (path) => {
      const manifest = JSON.parse(await readFile(join(root, path, 'package.json'), 'utf8'));
      const { license, name, repository, version } = manifest as Record<string, unknown>;
      const integrity = lock.packages[path]?.integrity;
      if (typeof license !== 'string' || typeof name !== 'string' || typeof version !== 'string') {
        throw new UnlicensedPackageError(`${path}/package.json: expected name, version and license`);
      }
      if (integrity === undefined) throw new UnlicensedPackageError(`${path}: not pinned by package-lock.json`);
      return { path, name, version, license, integrity, repository: (repository as { url?: string } | undefined)?.url };
    }),
  );
}

/**
 * One section a package: its name, and its licence as it ships it. A package that ships none takes the text from a neighbour: one
 * that is published from the same repository under the same licence. Throws UnlicensedPackageError where there is no neighbour either.
 */
export async function licences(root: string, packages: readonly BundledPackage[]): Promise<string> {
  const shipped = await Promise.all(
    packages.map(async (one) => ({ ...one, text: await licenceFiles(root, one.path) })),
  );
  const sections = shipped.map(({ license, name, path, repository, text, version }) => {
    const found = text ?? neighbourText({ license, repository }, shipped);
    if (found === undefined) {
      throw new UnlicensedPackageError(`${path}: ships no licence file, and no package of its repository does`);
    }
    return `${'='.repeat(80)}\n${name} ${version} (${license})\n${'='.repeat(80)}\n\n${found}\n`;
  });
  return `dcred.js contains these packages.\n\n${sections.join('\n')}`;
}

/** The text of the licence files in a package's folder; undefined where there is none. */
async function licenceFiles(root: string, path: string): Promise<string | undefined> {
  const files = (await readdir(join(root, path))).filter((file) => /^(licen[cs]e|copying|notice)/i.test(file)).sort();
  if (files.length === 0) return undefined;
  const texts = await Promise.all(files.map((file) => readFile(join(root, path, file), 'utf8')));
  return texts.map((one) => one.trim()).join('\n\n');
}

function neighbourText(
  { license, repository }: Pick<BundledPackage, 'license' | 'repository'>,
  packages: readonly (BundledPackage & { readonly text: string | undefined })[],
): string | undefined {
  if (repository === undefined) return undefined;
  const neighbour = packages.find(
    (one) => one.text !== undefined && one.license === license && one.repository === repository,
  );
  return neighbour && `${neighbour.text}\n\n(The text is ${neighbour.name}'s, from the same repository.)`;
}

/** CycloneDX 1.6. No serial number and no time, which would differ from build to build. */
export function sbom(version: string, packages: readonly BundledPackage[]): object {
  const reference = (name: string, of: string) => `pkg:npm/${name.replace('@', '%40')}@${of}`;
  const application = reference('dcred', version);
  const components = packages.map((one) => ({
    type: 'library',
    'bom-ref': `${reference(one.name, one.version)}#${one.path}`,
    name: one.name,
    version: one.version,
    purl: reference(one.name, one.version),
    licenses: [/ (?:OR|AND|WITH) /.test(one.license) ? { expression: one.license } : { license: { id: one.license } }],
    hashes: [hash(one.integrity)],
  }));
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    version: 1,
    metadata: { component: { type: 'application', 'bom-ref': application, name: 'dcred', version, purl: application } },
    components,
    dependencies: [{ ref: application, dependsOn: components.map((component) => component['bom-ref']) }],
  };
}

function hash(integrity: string): object {
  const [algorithm = '', digest = ''] = integrity.split('-', 2);
  return {
    alg: algorithm.toUpperCase().replace('SHA', 'SHA-'),
    content: Buffer.from(digest, 'base64').toString('hex'),
  };
}
