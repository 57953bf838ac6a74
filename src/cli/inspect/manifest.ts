/** Reads Secrets from Kubernetes manifests, in YAML or JSON, that anyone may have written. */

import { isRecord } from '../../text/is-record.ts';
import { printableList } from '../../text/printable.ts';
import { explainYamlError } from '../../text/yaml-error.ts';
import { CommandError } from '../command.ts';

/** What matters of a Secret in a manifest; `data` is decoded. */
export interface SecretInput {
  readonly namespace: string | undefined;
  readonly name: string;
  readonly type: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly data: ReadonlyMap<string, Uint8Array>;
}

/** Whether a text is a Kubernetes manifest: a JSON object, or YAML that names a kind, which PEM never does. */
export function looksLikeManifest(text: string): boolean {
  return text.trimStart().startsWith('{') || /^\ufeff?(?:- +)?kind *:/m.test(text);
}

/** The Secrets of a manifest: one, several documents, or a List. Throws CommandError when there is none. */
export async function readSecretManifests(text: string, source: string): Promise<readonly SecretInput[]> {
  // With a byte order mark, as PowerShell writes it: kubectl takes that, and JSON.parse does not.
  const body = text.trimStart();
  const documents = body.startsWith('{') ? [parseJson(body, source)] : await parseYaml(text, source);
  checkSize(documents, source);
  const objects = documents.flatMap((document) =>
    isRecord(document) && Array.isArray(document['items']) ? document['items'] : [document],
  );
  const secrets = objects.filter(isRecord).filter((object) => object['kind'] === 'Secret');
  if (secrets.length > 0) return secrets.map(readSecretObject);
  const kinds = objects.filter(isRecord).flatMap(({ kind }) => (typeof kind === 'string' ? [kind] : []));
  throw new CommandError(
    `${source}: expected a Secret manifest; found ${printableList(kinds) || 'no Kubernetes object'}`,
  );
}

/** What anyone may have written as a Secret: whatever is not as it must be is left out. */
export function readSecretObject(object: Readonly<Record<string, unknown>>): SecretInput {
  const metadata = isRecord(object['metadata']) ? object['metadata'] : {};
  const data = new Map<string, Uint8Array>();
  for (const [key, value] of strings(object['data'])) data.set(key, Uint8Array.from(Buffer.from(value, 'base64')));
  for (const [key, value] of strings(object['stringData'])) data.set(key, Buffer.from(value));
  const namespace = metadata['namespace'];
  return {
    namespace: typeof namespace === 'string' ? namespace : undefined,
    name: typeof metadata['name'] === 'string' ? metadata['name'] : '(no name)',
    type: typeof object['type'] === 'string' ? object['type'] : 'Opaque',
    annotations: Object.fromEntries(strings(metadata['annotations'])),
    data,
  };
}

const MAX_ALIASES = 100;
const MAX_VALUES = 100_000;
const MAX_CHARACTERS = 4_194_304;

/**
 * Aliases of aliases make a few lines of YAML stand for more than any memory holds: counts what the documents hold when each is
 * followed, and stops at what no manifest needs. Throws CommandError.
 */
function checkSize(documents: readonly unknown[], source: string): void {
  const rest: unknown[] = [...documents];
  let values = 0;
  let characters = 0;
  while (rest.length > 0) {
    const value = rest.pop();
    values += 1;
    if (typeof value === 'string') characters += value.length;
    const parts = typeof value === 'object' && value !== null ? Object.values(value) : [];
    values += parts.length;
    if (values > MAX_VALUES || characters > MAX_CHARACTERS) {
      throw new CommandError(`${source} expands to more than a manifest can hold: remove the YAML aliases`);
    }
    for (const part of parts) rest.push(part);
  }
}

/** The parser's message is dropped, here and below: it quotes the text around the mistake, and the text holds keys. */
function parseJson(text: string, source: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new CommandError(`${source} begins like JSON and cannot be parsed as such`);
  }
}

async function parseYaml(text: string, source: string): Promise<readonly unknown[]> {
  // Kubernetes' own types: without merge keys, which copy, and timestamps.
  const { CORE_SCHEMA, loadAll } = await import('js-yaml');
  try {
    return loadAll(text, { schema: CORE_SCHEMA, maxAliases: MAX_ALIASES });
  } catch (error) {
    const why = explainYamlError(error);
    throw new CommandError(`${source} looks like a Kubernetes manifest and cannot be parsed as YAML: ${why}`);
  }
}

function strings(value: unknown): readonly (readonly [string, string])[] {
  if (!isRecord(value)) return [];
  return Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
}
