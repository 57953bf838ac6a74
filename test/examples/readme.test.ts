import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';
import { ROOT } from '../chart/chart.ts';
import { files, read } from './examples.ts';
import { commands, projectPaths } from './readme.ts';

test('a command is read whole: continued lines are joined and comments removed', () => {
  const markdown = ['Text.', '', '    openssl req \\', '      -x509', '    kubectl get pods   # all of them', ''].join(
    '\n',
  );
  assert.deepEqual(commands(markdown), ['openssl req -x509', 'kubectl get pods']);
});

const readmes = await files('**/README.md');

test('every example has a README', async () => {
  const folders = new Set((await files('*/**/*.*')).map((path) => path.split('/').slice(0, 2).join('/')));
  assert.deepEqual(
    [...folders].filter((folder) => !readmes.includes(`${folder}/README.md`)),
    [],
  );
});

for (const readme of readmes) {
  describe(readme, async () => {
    const text = await read(readme);

    test('names only files that exist', () => {
      const named = commands(text).flatMap(projectPaths);
      const linked = [...text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(([, path = '']) =>
        join(dirname(readme), path),
      );
      assert.deepEqual(
        [...named, ...linked].filter((path) => !existsSync(join(ROOT, path))),
        [],
      );
    });

    test('says what was tested and what was not', { skip: readme === 'examples/README.md' }, () => {
      assert.match(text, /^## What was tested$/m);
    });
  });
}
