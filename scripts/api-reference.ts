/** Generates docs/api.md from the CustomResourceDefinitions: every field, its default, its bounds and its rules. */
import { load } from 'js-yaml';

interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly format?: string;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
  readonly 'x-kubernetes-validations'?: readonly { readonly rule: string; readonly message?: string }[];
}

interface Definition {
  readonly spec: {
    readonly group: string;
    readonly scope: string;
    readonly names: { readonly kind: string; readonly plural: string; readonly shortNames?: readonly string[] };
    readonly versions: readonly { readonly name: string; readonly schema: { readonly openAPIV3Schema: Schema } }[];
  };
}

const TABLE = '| field | type | default | meaning |\n|---|---|---|---|\n';

/** @param crds each as YAML */
export function apiReference(crds: readonly string[]): string {
  const introduction = [
    '<!-- Generated from the schemas in src/api by "npm run generate". Do not edit. -->',
    '# API reference',
    `Every field of every resource, as ${code('kubectl explain')} shows them. What they do together is in the [reference](reference.md).`,
  ];
  return `${[...introduction, ...crds.flatMap((crd) => kindSections(load(crd) as Definition))].join('\n\n')}\n`;
}

function kindSections({ spec: { group, names, scope, versions } }: Definition): readonly string[] {
  return versions.flatMap(({ name, schema: { openAPIV3Schema: schema } }) => {
    const { spec, status } = schema.properties ?? {};
    const short = (names.shortNames ?? []).map((one) => `, short name ${code(one)}`).join('');
    const sections = [
      `## ${names.kind}`,
      `${code(`${group}/${name}`)}, plural ${code(names.plural)}${short}. ${scope === 'Cluster' ? 'Cluster-scoped' : scope}. ${schema.description ?? ''}`.trim(),
      ...rulesOf(schema),
      `### ${names.kind} spec`,
      table(spec, 'spec'),
      ...rulesOf(spec),
    ];
    if (status === undefined) return sections;
    return [...sections, `### ${names.kind} status`, 'Written by dcred.', table(status, 'status')];
  });
}

function table(schema: Schema = {}, path: string): string {
  return `${TABLE}${rows(schema, path).join('\n')}`;
}

function rows(schema: Schema, path: string): readonly string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]) => {
    const here = `${path}.${name}`;
    const cells = [code(here), typeOf(field), defaultOf(schema, name, field), meaning(field)].map(cell);
    const inner = field.items?.properties === undefined ? rows(field, here) : rows(field.items, `${here}[]`);
    return [`| ${cells.join(' | ')} |`, ...inner];
  });
}

function defaultOf({ required = [] }: Schema, name: string, field: Schema): string {
  if (field.default !== undefined) return code(JSON.stringify(field.default));
  return required.includes(name) ? 'required' : '';
}

function typeOf({ additionalProperties, format, items, type = 'any' }: Schema): string {
  if (type === 'array') return `list of ${typeOf(items ?? {})}`;
  if (typeof additionalProperties === 'object') return `map of ${typeOf(additionalProperties)}`;
  return format === undefined ? type : `${type} (${format})`;
}

function meaning(field: Schema): string {
  return [sentence(plain(field.description ?? '')), ...bounds(field).map(sentence), ...messagesOf(field)]
    .join(' ')
    .trim();
}

function bounds(field: Schema): readonly string[] {
  const allowed = field.enum ?? field.items?.enum;
  return [
    allowed === undefined ? '' : `One of ${allowed.map((value) => code(String(value))).join(', ')}`,
    range(field.minimum, field.maximum, ''),
    range(field.minLength, field.maxLength, ' characters'),
    range(field.minItems, field.maxItems, ' items'),
    range(field.minProperties, field.maxProperties, ' entries'),
    field.pattern === undefined ? '' : `Matches ${code(field.pattern)}`,
  ].filter((part) => part !== '');
}

function range(from: number | undefined, to: number | undefined, unit: string): string {
  if (from === undefined) return to === undefined ? '' : `At most ${to}${unit}`;
  return to === undefined ? `At least ${from}${unit}` : `${from} to ${to}${unit}`;
}

/** What the API server says when a rule is broken. */
function messagesOf(field: Schema): readonly string[] {
  const rules = [...(field['x-kubernetes-validations'] ?? []), ...(field.items?.['x-kubernetes-validations'] ?? [])];
  return rules.flatMap(({ message }) => (message === undefined ? [] : [sentence(capital(plain(message)))]));
}

/** Rules of the object as a whole. */
function rulesOf(schema: Schema = {}): readonly string[] {
  const messages = messagesOf(schema);
  return messages.length === 0 ? [] : [messages.map((message) => `- ${message}`).join('\n')];
}

function sentence(text: string): string {
  return text === '' || /[.!?]$/.test(text) ? text : `${text}.`;
}

/** A field's name stays as it is. */
function capital(text: string): string {
  return /^[a-z]+ /.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text;
}

/** In Markdown `<name>` would be a tag and show nothing, and text between two `_` or `*` would turn italic and lose them. */
function plain(text: string): string {
  return text.replaceAll(/[\\*_`]/g, '\\$&').replaceAll('<', '&lt;');
}

function code(text: string): string {
  return `\`${text}\``;
}

/** A pipe would end the cell, even inside a code span. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll(/\s+/g, ' ');
}
