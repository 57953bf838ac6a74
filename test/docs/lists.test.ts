/** Lists in the documentation that are easily forgotten when something is added. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';

const ROOT = join(import.meta.dirname, '..', '..');
const read = (path: string) => readFile(join(ROOT, path), 'utf8');

test('the architecture lists every folder of src', async () => {
  const text = await read('docs/architecture.md');
  const entries = await readdir(join(ROOT, 'src'), { withFileTypes: true });
  const missing = entries.filter((one) => one.isDirectory() && !text.includes(`| \`src/${one.name}`));
  assert.deepEqual(
    missing.map(({ name }) => name),
    [],
  );
});

test('the architecture lists every room of the engine', async () => {
  const [, row = ''] = /^\| `src\/kubernetes` \|(.*)$/m.exec(await read('docs/architecture.md')) ?? [];
  const entries = await readdir(join(ROOT, 'src/kubernetes'), { withFileTypes: true });
  const rooms = entries.filter((one) => one.isDirectory()).map(({ name }) => name);
  const listed = [...row.matchAll(/`([\w-]+)`/g)].map(([, name = '']) => name);
  assert.deepEqual(listed.sort(), rooms.sort());
});

test('the README shows the columns that kubectl prints', async () => {
  const crd = await read('crds/dcred.dev_delegatedcredentials.yaml');
  const [, columns = ''] = /additionalPrinterColumns:\n((?: {8}.*\n)*)/.exec(crd) ?? [];
  const named = [...columns.matchAll(/ name: (.+)/g)].map(([, name = '']) => name.toUpperCase());
  const [, header = ''] = /\n {4}(NAME +READY .*)\n/.exec(await read('README.md')) ?? [];
  assert.deepEqual(header.split(/ {2,}/), ['NAME', ...named]);
});

for (const page of ['docs/operations.md', 'charts/dcred/README.md']) {
  test(`${page} removes every CustomResourceDefinition`, async () => {
    const [, removed = ''] = /kubectl delete crd ([^`\n]*)/.exec(await read(page)) ?? [];
    const names = (await readdir(join(ROOT, 'crds'))).map((file) =>
      file.replace(/^dcred\.dev_(.*)\.yaml$/, '$1.dcred.dev'),
    );
    assert.deepEqual(removed.split(' ').sort(), names.sort());
  });
}
