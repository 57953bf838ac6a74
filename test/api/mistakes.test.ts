/**
 * Every mistake that a user can make in a resource, by a walk over the schema: each field of the spec gets each value of a list
 * of wrong and extreme ones. The API server either refuses the object (with which words: api-server.test.ts), or what it accepts can be served:
 * the operator reads it, and the API server takes what dcred makes of it (a Secret with the template's labels and annotations,
 * a selector, a Secret name). So nothing can be written that ends in no condition at all.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { customResourceDefinition } from '../../src/api/crd.ts';
import type { DelegatedCredentialSpec } from '../../src/api/delegated-credential.ts';
import { isReadable, readDelegatedCredential } from '../../src/api/read.ts';
import { isSecretName } from '../../src/issued-secret/names.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { operatorsClient } from '../operator/cluster.ts';

const CRD = join(import.meta.dirname, '..', '..', 'crds', 'dcred.dev_delegatedcredentials.yaml');
const signal = new AbortController().signal;

let plane: ControlPlane;
let client: ApiClient;

before(async () => {
  plane = await startControlPlane();
  await plane.kubectl(['apply', '--server-side', '-f', CRD]);
  await plane.kubectl(['wait', '--for=condition=Established', 'crd/delegatedcredentials.dcred.dev']);
  client = await operatorsClient(plane);
});
after(async () => {
  await client?.close();
  await plane?.stop();
});

type Path = readonly (string | number)[];
interface Schema {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly enum?: readonly string[];
}

/** A spec in which every field is set, and valid. */
const FULL = {
  certificateRef: { name: 'web-tls', namespace: 'default' },
  podSelector: {
    matchLabels: { app: 'web' },
    matchExpressions: [{ key: 'tier', operator: 'In', values: ['front'] }],
  },
  usage: 'Server',
  keyAlgorithm: 'ECDSAP256',
  lifetimeSeconds: 172_800,
  renewBeforeSeconds: 86_400,
  secretTemplate: { labels: { team: 'edge' }, annotations: { 'example.com/note': 'x' } },
  suspend: false,
};

const STRINGS = [
  '',
  ' ',
  'a',
  'A',
  '-a',
  'a-',
  '.a',
  'a.',
  'a..b',
  'a/b',
  'a//b',
  '/a',
  'a/',
  'a_b',
  'a b',
  'a\n',
  '\u00e4',
  '\u202ea',
  '\u0000',
  'true',
  'null',
  '0',
  '__proto__',
  'constructor',
  'a'.repeat(40),
  'a'.repeat(63),
  'a'.repeat(64),
  'a'.repeat(253),
  'a'.repeat(254),
  'a'.repeat(317),
  'a'.repeat(318),
  'a'.repeat(4096),
  'a'.repeat(4097),
  `${'a'.repeat(254)}/b`,
  `${'d.'.repeat(130)}d/b`,
  'a.b/C_d',
  'dcred.dev/inject',
  'x.dcred.dev/inject',
  'app.kubernetes.io/managed-by',
  'kubernetes.io/x',
  'a,b',
  'a=b',
  '\u{1f512}',
  `b${'.c'.repeat(126)}`,
];
const NUMBERS = [
  0,
  1,
  -1,
  59,
  60,
  61,
  601_199,
  601_200,
  601_201,
  604_800,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 53,
  -(2 ** 31),
  1.5,
  1e300,
];
const OTHERS = [null, true, false, [], {}, [null], { a: null }, [[]]];

function* fields(schema: Schema, path: Path): Generator<readonly [Path, Schema]> {
  yield [path, schema];
  for (const [name, child] of Object.entries(schema.properties ?? {})) yield* fields(child, [...path, name]);
  if (schema.items !== undefined) yield* fields(schema.items, [...path, 0]);
}

/** Values for a field: every wrong type, and for a map wrong keys and wrong values and too many of them. */
function values({ additionalProperties, items, enum: words = [] }: Schema): readonly unknown[] {
  const map =
    additionalProperties === undefined
      ? []
      : [...STRINGS.map((key) => ({ [key]: 'x' })), ...STRINGS.map((text) => ({ a: text }))];
  const many = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, 'v'.repeat(63)]));
  const maps = additionalProperties === undefined ? [] : [many(32), many(33), ...NUMBERS.map((a) => ({ a }))];
  const lists = items === undefined ? [] : [...STRINGS.map((text) => [text]), Array.from({ length: 33 }, () => 'a')];
  const near = words.flatMap((word) => [word.toLowerCase(), `${word} `, word.slice(1)]);
  return [undefined, ...STRINGS, ...NUMBERS, ...OTHERS, ...words, ...near, ...map, ...maps, ...lists];
}

function withValue(spec: unknown, [head, ...rest]: Path, value: unknown): unknown {
  if (head === undefined) return value;
  const copy = structuredClone(spec) as Record<string | number, unknown>;
  const next = withValue(copy[head], rest, value);
  if (next === undefined) delete copy[head];
  else copy[head] = next;
  return copy;
}

let count = 0;

async function create(
  kind: { readonly group: string; readonly plural: string; readonly kind: string },
  object: object,
  template: object = {},
) {
  const type = { ...kind, version: kind.group === 'dcred.dev' ? 'v1alpha1' : 'v1', namespaced: true };
  count += 1;
  const metadata = { namespace: 'default', name: `made-${count}`, ...template };
  return await client.create(type, { metadata, ...object }, { signal });
}

const RESOURCE = { group: 'dcred.dev', plural: 'delegatedcredentials', kind: 'DelegatedCredential' };
const SECRET = { group: '', plural: 'secrets', kind: 'Secret' };
const POLICY = { group: 'networking.k8s.io', plural: 'networkpolicies', kind: 'NetworkPolicy' };

/** What the operator makes of it must be acceptable too. */
async function servable(spec: DelegatedCredentialSpec): Promise<void> {
  assert.ok(isSecretName(spec.certificateRef.name), 'a Secret can have that name');
  assert.ok((spec.renewBeforeSeconds ?? 0) < spec.lifetimeSeconds);
  await create(SECRET, { type: 'example.com/test' }, spec.secretTemplate);
  // Whose own validation of a LabelSelector is the reference.
  await create(POLICY, { spec: { podSelector: spec.podSelector ?? {} } });
}

const schema = (customResourceDefinition() as { spec: { versions: [{ schema: { openAPIV3Schema: Schema } }] } }).spec
  .versions[0].schema.openAPIV3Schema.properties?.['spec'];
assert.ok(schema !== undefined);

/** Whether the API server accepts the spec. Fails where it does and dcred cannot serve it. */
async function isAccepted(spec: unknown, shown: string): Promise<boolean> {
  const created = await create(RESOURCE, { spec }).catch((error: unknown) => {
    assert.ok(error instanceof ApiError, `${shown}: ${String(error)}`);
    assert.ok(error.reason === 'Invalid' || error.reason === 'BadRequest', `${shown}: ${error.reason}`);
    return undefined;
  });
  if (created === undefined) return false;
  const read = readDelegatedCredential(created);
  assert.ok(isReadable(read), `${shown} is accepted, and then: ${isReadable(read) || read.problem}`);
  await servable(read.spec).catch((error: unknown) => assert.fail(`${shown} is accepted, and then: ${String(error)}`));
  return true;
}

for (const [path, field] of fields(schema, [])) {
  test(`spec${path.map((part) => (typeof part === 'number' ? '[]' : `.${part}`)).join('')}`, async () => {
    const good = path.reduce<unknown>((at, part) => (at as Record<string | number, unknown>)[part], FULL);
    const tried = [good, ...values(field)];
    const results = await Promise.all(
      tried.map((value) =>
        isAccepted(withValue(FULL, path, value), JSON.stringify(value)?.slice(0, 100) ?? 'no value'),
      ),
    );
    assert.ok(results[0], 'the good value is accepted');
    assert.ok(results.includes(false), 'some values are refused');
  });
}
