/** CycloneDX' own JSON schema, with the list of SPDX licences, as the CycloneDX project publishes them for Node. */
import { readFile } from 'node:fs/promises';
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';

const SCHEMAS = new URL('res/schema/', import.meta.resolve('@cyclonedx/cyclonedx-library/package.json'));
const REFERRED = ['spdx', 'jsf-0.82'] as const;

export async function sbomValidator(version: '1.6'): Promise<ValidateFunction> {
  const read = async (name: string) =>
    JSON.parse(await readFile(new URL(`${name}.SNAPSHOT.schema.json`, SCHEMAS), 'utf8'));
  // Not strict: formats such as iri-reference need further packages, and the schemas use keywords besides those of JSON Schema.
  const ajv = new Ajv({ validateFormats: false, strict: false, allErrors: true });
  for (const name of REFERRED)
    ajv.addSchema(await read(name), `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json`);
  return ajv.compile(await read(`bom-${version}`));
}

export function explain(errors: readonly ErrorObject[] | null | undefined): readonly string[] {
  return (errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
}
