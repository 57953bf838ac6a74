import { CommandError } from './command.ts';

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
  return text.trimStart().startsWith('{') || /^(- +)?kind *:/m.test(text);
}

/** The Secrets of a manifest: one, several documents, or a List. Throws CommandError when there is none. */
export async function readSecretManifests(text: string, source: string): Promise<readonly SecretInput[]> {
  const documents = text.trimStart().startsWith('{') ? [parseJson(text, source)] : await parseYaml(text, source);
  const objects = documents.flatMap((document) =>
    isRecord(document) && Array.isArray(document['items']) ? document['items'] : [document],
  );
  const secrets = objects.filter(isRecord).filter((object) => object['kind'] === 'Secret');
  if (secrets.length > 0) return secrets.map(readSecret);
  const kinds = objects.filter(isRecord).map((object) => String(object['kind']));
  throw new CommandError(`${source}: expected a Secret manifest; found ${kinds.join(', ') || 'no Kubernetes object'}`);
}

function readSecret(object: Readonly<Record<string, unknown>>): SecretInput {
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

/** The parser's message is dropped, here and below: it quotes the text around the mistake, and the text holds keys. */
function parseJson(text: string, source: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new CommandError(`${source} begins like JSON and cannot be parsed as such`);
  }
}

async function parseYaml(text: string, source: string): Promise<readonly unknown[]> {
  const { loadAll } = await import('js-yaml');
  try {
    return loadAll(text);
  } catch {
    throw new CommandError(`${source} looks like a Kubernetes manifest and cannot be parsed as YAML`);
  }
}

function strings(value: unknown): readonly (readonly [string, string])[] {
  if (!isRecord(value)) return [];
  return Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
