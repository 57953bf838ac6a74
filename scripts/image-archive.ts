/** The docker-archive format: layers, a config and a manifest in one tar. `ctr images import` and `docker load` read it. */
import { createHash } from 'node:crypto';
import { type TarEntry, tar } from '../src/bundle/tar.ts';

export interface ImageOptions {
  /** With its tag: `registry.invalid/dcred:0.1.0`. */
  readonly name: string;
  /** Go's name: `amd64`, `arm64`. */
  readonly architecture: string;
  /** One archive per layer, the lowest first, and what created it. */
  readonly layers: readonly { readonly createdBy: string; readonly entries: readonly TarEntry[] }[];
  readonly user: string;
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/** The same options give the same bytes, so that images built on different machines can be compared. */
export function imageArchive(options: ImageOptions): Buffer {
  const layers = options.layers.map(({ createdBy, entries }) => {
    const content = tar(entries);
    return { createdBy, content, digest: sha256(content) };
  });
  const config = Buffer.from(
    JSON.stringify({
      architecture: options.architecture,
      os: 'linux',
      created: EPOCH,
      config: {
        User: options.user,
        Env: options.env,
        Entrypoint: options.entrypoint,
        Cmd: options.command,
        WorkingDir: '/',
        Labels: options.labels,
      },
      rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => `sha256:${digest}`) },
      history: layers.map(({ createdBy }) => ({ created: EPOCH, created_by: createdBy })),
    }),
  );
  const configPath = `${sha256(config)}.json`;
  const manifest = [
    { Config: configPath, RepoTags: [options.name], Layers: layers.map(({ digest }) => layerPath(digest)) },
  ];
  return tar([
    { type: 'file', path: 'manifest.json', content: Buffer.from(JSON.stringify(manifest)) },
    { type: 'file', path: configPath, content: config },
    ...layers.map(({ content, digest }) => ({ type: 'file', path: layerPath(digest), content }) as const),
  ]);
}

const EPOCH = '1970-01-01T00:00:00Z';

function layerPath(digest: string): string {
  return `${digest}.tar`;
}

function sha256(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}
