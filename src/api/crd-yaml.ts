import { dump } from 'js-yaml';
import { customResourceDefinition, grantDefinition } from './crd.ts';

interface CrdFile {
  readonly name: string;
  readonly yaml: string;
}

/** The CRDs as they are committed under `crds/`. */
export function crdFiles(): readonly CrdFile[] {
  return [
    crdFile('delegatedcredentials', 'delegated-credential', customResourceDefinition()),
    crdFile('delegationgrants', 'delegation-grant', grantDefinition()),
  ];
}

/** All of them in one document stream, as `dcred crd` prints them. */
export function crdYaml(): string {
  return crdFiles()
    .map(({ yaml }) => yaml)
    .join('---\n');
}

function crdFile(plural: string, source: string, definition: object): CrdFile {
  const header = `# Generated from src/api/${source}.ts by \`npm run generate\`. Do not edit.\n`;
  return { name: `dcred.dev_${plural}.yaml`, yaml: header + dump(definition, { lineWidth: 120, noRefs: true }) };
}
