import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Where one project's release files are, and which bytes they must have. From `releases.json`. */
export interface Release {
  readonly version: string;
  /** A template with {version}, {os}, {arch} and {name}. */
  readonly url: string;
  /** Where the project publishes its checksums, for `scripts/pin-downloads.ts`. */
  readonly checksums: string;
  /** The file inside the tar.gz at `url`; absent: `url` is the binary itself. */
  readonly member?: string;
  /** What an archive holds; absent: what `sha256` lists. */
  readonly names?: readonly string[];
  /** By platform: the SHA-256 of the archive, or of each binary. */
  readonly sha256: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
}

export type Releases = Readonly<Record<string, Release>>;

/** One file to download, and the binaries that come from it. */
export interface Download {
  readonly url: string;
  readonly sha256: string;
  /** Path inside the archive by name; undefined: the file is the one binary. */
  readonly binaries: readonly { readonly name: string; readonly member: string | undefined }[];
}

const GO_ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

export async function readReleases(path = join(import.meta.dirname, 'releases.json')): Promise<Releases> {
  return JSON.parse(await readFile(path, 'utf8')) as Releases;
}

/** As Go and the projects' URLs name it: linux/amd64. */
export function platformOf(platform: string, architecture: string): string {
  return `${platform}/${GO_ARCHITECTURES[architecture] ?? architecture}`;
}

export function expand(template: string, values: Readonly<Record<string, string>>): string {
  return template.replaceAll(/\{(\w+)\}/g, (_all, key: string) => {
    const value = values[key];
    if (value === undefined) throw new TypeError(`releases.json: nothing to put in place of {${key}} in ${template}`);
    return value;
  });
}

export function valuesOf(release: Release, platform: string, name: string): Readonly<Record<string, string>> {
  const [os = '', arch = ''] = platform.split('/');
  return { version: release.version, os, arch, name };
}

/** The downloads that bring the named binaries. A name for which nothing is pinned on this platform is left out. */
export function downloadsFor(releases: Releases, names: readonly string[], platform: string): readonly Download[] {
  return Object.values(releases).flatMap((release): readonly Download[] => {
    const pinned = release.sha256[platform];
    if (pinned === undefined) return [];
    if (typeof pinned === 'string') {
      const wanted = names.filter((name) => release.names?.includes(name));
      if (wanted.length === 0) return [];
      const binaries = wanted.map((name) => ({
        name,
        member: expand(release.member ?? '', valuesOf(release, platform, name)),
      }));
      return [{ url: expand(release.url, valuesOf(release, platform, '')), sha256: pinned, binaries }];
    }
    return names.flatMap((name) => {
      const sha256 = pinned[name];
      if (sha256 === undefined) return [];
      const url = expand(release.url, valuesOf(release, platform, name));
      return [{ url, sha256, binaries: [{ name, member: undefined }] }];
    });
  });
}
