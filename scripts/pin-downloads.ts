/**
 * Pins the release files of the test cluster in `testing/controlplane/releases.json`: to the versions of its go.mod, or to those given
 * by `--kubernetes`, `--etcd` and `--helm`. A checksum is taken from the project's own checksum file and checked against the file itself,
 * which is downloaded for that (2 GB in all). One that does not match, or is not there, changes nothing. Needs a network.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { expand, type Release, type Releases, readReleases, valuesOf } from '../testing/controlplane/releases.ts';
import { download } from '../testing/support/download.ts';

const CONTROL_PLANE = join(import.meta.dirname, '..', 'testing', 'controlplane');
const MODULES: Readonly<Record<string, string>> = {
  kubernetes: 'k8s.io/kubernetes',
  etcd: 'go.etcd.io/etcd/server/v3',
  helm: 'helm.sh/helm/v4',
};
/** etcd's SHA256SUMS is 3 kB. */
const MAX_CHECKSUM_BYTES = 100_000;
const LIMITS = { maxBytes: 400 * 1024 * 1024, answerTimeoutMs: 30_000, totalTimeoutMs: 30 * 60_000 };

async function text(url: string): Promise<string> {
  const response = await fetch(url, { signal: AbortSignal.timeout(LIMITS.answerTimeoutMs) });
  if (!response.ok) throw new Error(`${url}: expected status 200, found ${response.status}`);
  const content = await response.text();
  if (content.length > MAX_CHECKSUM_BYTES)
    throw new Error(`${url}: expected a short list, found ${content.length} bytes`);
  return content;
}

/** From a lone checksum, or from the one line of `sha256sum` that names the file. */
function checksumOf(list: string, file: string): string {
  const lines = list.split('\n').map((line) => line.trim().split(/\s+\*?/));
  const found = lines.filter(
    ([hash = '', name]) => /^[0-9a-f]{64}$/.test(hash) && (name === undefined || name === file),
  );
  const [hash] = found[0] ?? [];
  if (hash === undefined || found.length !== 1) {
    throw new Error(`expected one SHA-256 of ${file} in its checksum file, found ${found.length}`);
  }
  return hash;
}

async function pinFile(release: Release, platform: string, name: string, folder: string): Promise<string> {
  const values = valuesOf(release, platform, name);
  const url = expand(release.url, values);
  const sha256 = checksumOf(await text(expand(release.checksums, values)), basename(url));
  const path = join(folder, 'file');
  await download(url, path, { ...LIMITS, sha256, env: process.env });
  await rm(path);
  process.stdout.write(`${sha256}  ${url}\n`);
  return sha256;
}

async function pinRelease(release: Release, version: string, folder: string): Promise<Release> {
  const next = { ...release, version };
  const sha256: Record<string, string | Record<string, string>> = {};
  for (const [platform, pinned] of Object.entries(release.sha256)) {
    if (typeof pinned === 'string') {
      sha256[platform] = await pinFile(next, platform, '', folder);
      continue;
    }
    const files: Record<string, string> = {};
    for (const name of Object.keys(pinned)) files[name] = await pinFile(next, platform, name, folder);
    sha256[platform] = files;
  }
  return { ...next, sha256 };
}

async function versionInGoMod(project: string): Promise<string> {
  const module = MODULES[project] ?? project;
  const goMod = await readFile(join(CONTROL_PLANE, 'go.mod'), 'utf8');
  const line = goMod.split('\n').find((one) => one.trim().startsWith(`${module} v`));
  const version = line?.trim().split(' ')[1];
  if (version === undefined) throw new Error(`testing/controlplane/go.mod does not require ${module}`);
  return version;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      kubernetes: { type: 'string' },
      etcd: { type: 'string' },
      helm: { type: 'string' },
      releases: { type: 'string', default: join(CONTROL_PLANE, 'releases.json') },
    },
  });
  const wanted: Readonly<Record<string, string | undefined>> = values;
  const releases = await readReleases(values.releases);
  const folder = await mkdtemp(join(tmpdir(), 'dcred-pins-'));
  try {
    const pinned: Record<string, Release> = {};
    for (const [project, release] of Object.entries(releases)) {
      pinned[project] = await pinRelease(release, wanted[project] ?? (await versionInGoMod(project)), folder);
    }
    await writeFile(values.releases, `${JSON.stringify(pinned satisfies Releases, null, 2)}\n`);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await main().catch((error: unknown) => {
  process.stderr.write(`nothing is pinned: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
