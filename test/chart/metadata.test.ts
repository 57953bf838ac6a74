/** What registries read of the chart: https://artifacthub.io/docs/topics/annotations/helm/ and the OCI image annotations. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { load } from 'js-yaml';
import { customResourceDefinition, grantDefinition } from '../../src/api/crd.ts';
import { specSchema } from '../../src/api/delegated-credential.ts';
import { grantSpecSchema } from '../../src/api/delegation-grant.ts';
import { CHART } from './chart.ts';

interface Chart {
  readonly version: string;
  readonly appVersion: string;
  readonly home: string;
  readonly sources: readonly string[];
  readonly annotations: Readonly<Record<string, string>>;
}

const chart = load(await readFile(join(CHART, 'Chart.yaml'), 'utf8')) as Chart;
const list = (name: string) =>
  load(chart.annotations[`artifacthub.io/${name}`] ?? '') as readonly Record<string, unknown>[];

interface Definition {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly names: { readonly kind: string }; readonly versions: readonly { readonly name: string }[] };
}

test('every annotation is text, as registries require', () => {
  for (const [name, value] of Object.entries(chart.annotations)) assert.equal(typeof value, 'string', name);
  assert.deepEqual(
    [chart.home, ...chart.sources].map((url) => new URL(url).protocol),
    ['https:', 'https:'],
  );
});

test('the definitions that are listed are those that the chart installs', () => {
  const definitions = [customResourceDefinition(), grantDefinition()] as unknown as readonly Definition[];
  assert.deepEqual(
    list('crds').map(({ kind, name, version }) => [kind, name, version]),
    definitions.map(({ metadata, spec }) => [spec.names.kind, metadata.name, spec.versions[0]?.name]),
  );
});

test('the examples fit their schemas', () => {
  const [credential, grant] = list('crdsExamples');
  assert.ok(specSchema.safeParse(credential?.['spec']).success);
  assert.ok(grantSpecSchema.safeParse(grant?.['spec']).success);
});

test('the image is the one that the chart runs by default', async () => {
  const values = load(await readFile(join(CHART, 'values.yaml'), 'utf8')) as { image: { repository: string } };
  assert.deepEqual(list('images'), [{ name: 'dcred', image: `${values.image.repository}:${chart.appVersion}` }]);
});

test('a version before 1.0 is marked as a prerelease', () => {
  assert.equal(chart.annotations['artifacthub.io/prerelease'], String(chart.version.startsWith('0.')));
});
