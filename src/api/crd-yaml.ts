import { dump } from 'js-yaml';
import { customResourceDefinition } from './crd.ts';

/** The CRD as it is committed under `crds/`, and as `dcred crd` prints it. */
export function crdYaml(): string {
  const header = '# Generated from src/api/delegated-credential.ts by `npm run generate`. Do not edit.\n';
  return header + dump(customResourceDefinition(), { lineWidth: 120, noRefs: true });
}
