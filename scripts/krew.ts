/** The manifest of the kubectl plug-in for krew (https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/). Pure. */
import { dump } from 'js-yaml';
import { KUBECTL_COMPLETION_FILE } from '../src/cli/completion/completion.ts';

export interface KrewPlatform {
  readonly os: string;
  /** Go's name: `amd64`. */
  readonly arch: string;
  /** Where the archive is downloaded from. */
  readonly uri: string;
  readonly sha256: string;
}

/** The executable in the archive; kubectl finds plug-ins by this name. */
export const KREW_BINARY = 'kubectl-dcred';

export function krewManifest(version: string, homepage: string, platforms: readonly KrewPlatform[]): string {
  return dump(
    {
      apiVersion: 'krew.googlecontainertools.github.com/v1alpha2',
      kind: 'Plugin',
      metadata: { name: 'dcred' },
      spec: {
        version: `v${version}`,
        homepage,
        shortDescription: 'Manage TLS delegated credentials (RFC 9345)',
        description:
          'Shows, checks and renews the TLS delegated credentials that dcred issues to pods:\n' +
          'status, events, renew, suspend, resume, inspect, probe, audit, check (preflight)\n' +
          'and bundle (a support archive without keys).\n',
        caveats:
          'Needs dcred in the cluster: "kubectl dcred check" says whether it is there, and what is missing.\n' +
          'For completion by the tab key, write the output of "kubectl dcred completion kubectl" to a file\n' +
          `${KUBECTL_COMPLETION_FILE} on your PATH, and make it executable.\n`,
        platforms: platforms.map(({ arch, os, sha256, uri }) => ({
          selector: { matchLabels: { os, arch } },
          uri,
          sha256,
          files: [
            { from: KREW_BINARY, to: '.' },
            { from: KUBECTL_COMPLETION_FILE, to: '.' },
            { from: 'LICENSE', to: '.' },
          ],
          bin: KREW_BINARY,
        })),
      },
    },
    { lineWidth: 120 },
  );
}
