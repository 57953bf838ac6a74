/** What the prose names in code spans exists: values of the chart, options, metrics, alerts. Commands have their own test. */
import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { load } from 'js-yaml';
import { COMMON_OPTIONS } from '../../src/cli/arguments.ts';
import { COMMANDS } from '../../src/cli/commands.ts';
import { labelsOf } from '../alerts/registries.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (path: string) => readFile(join(ROOT, path), 'utf8');
/** Pages of today: the changelog and the decisions may name what is gone. */
const PAGES = ['README.md', 'SECURITY.md', 'docs/*.md', 'charts/dcred/README.md', 'examples/**/*.md'];
/** Options that a page names without their program. */
const OTHER_PROGRAMS: ReadonlySet<string> = new Set([
  '--cpu-prof', // node, as the next three
  '--disable-sigusr1',
  '--optimize-for-size',
  '--single-threaded-gc',
  '--field-selector', // kubectl
  '--etcd-servers-overrides', // kube-apiserver
  '--quota-backend-bytes', // etcd
  '--reset-then-reuse-values', // helm, as the next two
  '--reuse-values',
  '--take-ownership',
]);

interface Span {
  readonly page: string;
  readonly text: string;
}

async function codeSpans(): Promise<readonly Span[]> {
  const spans: Span[] = [];
  for await (const page of glob(PAGES, { cwd: ROOT })) {
    const prose = (await read(page)).replaceAll(/^```[\s\S]*?^```$/gm, '').replaceAll(/^ {4}.*$/gm, '');
    for (const [, text = ''] of prose.matchAll(/`([^`]+)`/g)) spans.push({ page, text: text.replaceAll(/\s+/g, ' ') });
  }
  return spans;
}

const spans = await codeSpans();

function unknown(pattern: RegExp, exists: (name: string) => boolean): readonly string[] {
  let seen = 0;
  const found = spans.flatMap(({ page, text }) => {
    const names = [...text.matchAll(pattern)].map(([, name = '']) => name);
    seen += names.length;
    return names.filter((name) => !exists(name)).map((name) => `${page}: ${name}`);
  });
  assert.ok(seen > 0, String(pattern));
  return found;
}

test('every value of the chart', async () => {
  const values = load(await read('charts/dcred/values.yaml')) as Readonly<Record<string, unknown>>;
  const exists = (path: string) => {
    let found: unknown = values;
    for (const key of path.split('.')) {
      // A list, or an object that users fill.
      if (typeof found !== 'object' || found === null || Array.isArray(found)) return false;
      if (Object.keys(found).length === 0) return true;
      found = (found as Readonly<Record<string, unknown>>)[key];
    }
    return found !== undefined;
  };
  const top = Object.keys(values).join('|');
  assert.deepEqual(unknown(new RegExp(`^((?:${top})(?:\\.[a-zA-Z]+)+)(?=$|\\[|[:=])(?<!\\.ts)`, 'g'), exists), []);
});

test('every option', () => {
  const options = new Set(COMMANDS.flatMap((command) => Object.keys({ ...command.options, ...COMMON_OPTIONS })));
  const exists = (option: string) => options.has(option.slice(2)) || OTHER_PROGRAMS.has(option);
  // Behind another program's name, they are its own.
  assert.deepEqual(unknown(/(?<=^|^dcred [^|]*)(?<![\w-])(--[a-z][a-z0-9-]+)/g, exists), []);
});

test('every metric', async () => {
  const programs = ['operator', 'webhook', 'signer', 'audit', 'issuer', 'agent'] as const;
  const families = new Set((await Promise.all(programs.map(labelsOf))).flatMap((labels) => [...labels.keys()]));
  const exists = (name: string) => families.has(name.replace(/_(?:bucket|sum|count)$/, '')) || families.has(name);
  assert.deepEqual(unknown(/\b(dcred_[a-z_]+)/g, exists), []);
});

test('every environment variable that dcred reads is in a page, but for those that Kubernetes, the chart or a shell sets', async () => {
  const given = /^(?:HOME|PATH|POD_\w+|KUBERNETES_\w+|DCRED_ENTRY)$/;
  const found = new Set<string>();
  for await (const path of glob('src/**/*.ts', { cwd: ROOT })) {
    const source = await readFile(join(ROOT, path), 'utf8');
    const names = /env\['([A-Z][A-Z0-9_]+)'\]|['`]((?:AWS|DCRED|OTEL|VAULT)_[A-Z_]*[A-Z])['`]/g;
    for (const [, one, other] of source.matchAll(names)) found.add(one ?? other ?? '');
  }
  assert.ok(found.size > 20, [...found].join(' '));
  const named = new Set(spans.flatMap(({ text }) => text.match(/\b[A-Z][A-Z0-9_]+\b/g) ?? []));
  assert.deepEqual(
    [...found].filter((name) => !given.test(name) && !named.has(name)),
    [],
  );
});

test('every alert', async () => {
  const alerts = new Set((await read('charts/dcred/files/alerts.yaml')).match(/(?<=- alert: )\w+/g));
  assert.deepEqual(
    unknown(/\b(Dcred[A-Z]\w+)/g, (name) => alerts.has(name)),
    [],
  );
});
