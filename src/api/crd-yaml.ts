import { dump } from 'js-yaml';
import { clusterIssuerDefinition, customResourceDefinition, grantDefinition, issuerDefinition } from './crd.ts';
import { MANAGED_BY_LABEL } from './keys.ts';

interface CrdFile {
  readonly name: string;
  readonly yaml: string;
}

/** The CRDs as they are committed under `crds/`. */
export function crdFiles(release?: HelmRelease): readonly CrdFile[] {
  return [
    crdFile('delegatedcredentials', 'delegated-credential', owned(customResourceDefinition(), release)),
    crdFile('delegationgrants', 'delegation-grant', owned(grantDefinition(), release)),
    crdFile('delegationissuers', 'delegation-issuer', owned(issuerDefinition(), release)),
    crdFile('clusterdelegationissuers', 'delegation-issuer', owned(clusterIssuerDefinition(), release)),
  ];
}

/** Of Helm: what it takes an object for its own by. */
export interface HelmRelease {
  readonly namespace: string;
  readonly name: string;
}

/** All of them in one document stream, as `dcred crd` prints them; with a release, so that Helm adopts them into it. */
export function crdYaml(release?: HelmRelease): string {
  return crdFiles(release)
    .map(({ yaml }) => yaml)
    .join('---\n');
}

function crdFile(plural: string, source: string, definition: object): CrdFile {
  const header = `# Generated from src/api/${source}.ts by \`npm run generate\`. Do not edit.\n`;
  return { name: `dcred.dev_${plural}.yaml`, yaml: header + dump(definition, { lineWidth: 120, noRefs: true }) };
}

/** https://helm.sh/docs: an object with this label and these annotations belongs to the release. */
function owned(definition: { readonly metadata?: unknown }, release: HelmRelease | undefined): object {
  if (release === undefined) return definition;
  const annotations = {
    'helm.sh/resource-policy': 'keep',
    'meta.helm.sh/release-name': release.name,
    'meta.helm.sh/release-namespace': release.namespace,
  };
  const metadata = { ...(definition.metadata as object), annotations, labels: { [MANAGED_BY_LABEL]: 'Helm' } };
  return { ...definition, metadata };
}
