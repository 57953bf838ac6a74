/** Links between the project's Markdown files, and the paths that they name in code spans. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { glob, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, test } from 'node:test';

const ROOT = join(import.meta.dirname, '..', '..');
const MARKDOWN = ['*.md', '{docs,charts,examples,testing,src,test,bench}/**/*.md'];
/** Fenced and indented code is not prose: what looks like a link there is not one. */
const FENCED = /^```[\s\S]*?^```$/gm;
const LINK = /\]\(([^)\s]+)\)/g;
/** A path of this repository in a code span, such as `docs/adr/` or `src/text/rfc3339.ts`. */
const PATH = /`((?:src|test|testing|docs|charts|examples|scripts|bench)\/[\w./-]*)`/g;

interface Page {
  readonly path: string;
  readonly text: string;
}

async function pages(): Promise<readonly Page[]> {
  const found: Page[] = [];
  for await (const path of glob(MARKDOWN, { cwd: ROOT, exclude: (name) => name === 'node_modules' })) {
    const text = (await readFile(join(ROOT, path), 'utf8')).replaceAll(FENCED, '');
    found.push({ path, text });
  }
  return found.sort((one, other) => (one.path < other.path ? -1 : 1));
}

/** The anchor that a forge gives a heading: lower case, spaces to hyphens, all other punctuation dropped. */
function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-');
}

function anchors(text: string): ReadonlySet<string> {
  return new Set([...text.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = '']) => anchor(heading)));
}

/** What is wrong with a link from a page; undefined when nothing is. */
function problem(page: Page, link: string, all: ReadonlyMap<string, Page>): string | undefined {
  if (/^[a-z]+:/.test(link)) return undefined;
  const [path = '', fragment] = link.split('#', 2);
  const target = path === '' ? page.path : join(dirname(page.path), path);
  if (!existsSync(join(ROOT, target))) return `${page.path}: ${link} does not exist`;
  if (fragment === undefined) return undefined;
  const text = all.get(target)?.text;
  if (text === undefined || !anchors(text).has(fragment)) return `${page.path}: ${link} has no such heading`;
  return undefined;
}

const all = await pages();
const byPath = new Map(all.map((page) => [page.path, page]));

test('the pages are found', () => {
  for (const path of ['README.md', 'docs/architecture.md', 'docs/reference.md', 'charts/dcred/README.md']) {
    assert.ok(byPath.has(path), path);
  }
});

describe('every link and path resolves', () => {
  for (const page of all) {
    test(page.path, () => {
      const links = [...page.text.matchAll(LINK)].flatMap(([, link = '']) => problem(page, link, byPath) ?? []);
      const paths = [...page.text.matchAll(PATH)].flatMap(([, path = '']) =>
        existsSync(join(ROOT, path)) ? [] : [`${page.path}: ${path} does not exist`],
      );
      assert.deepEqual([...links, ...paths], []);
    });
  }
});

describe('a broken link is reported', () => {
  const page: Page = { path: 'docs/reference.md', text: '# One heading\n' };
  const known = new Map([[page.path, page]]);

  test('to a file', () => {
    assert.match(problem(page, 'missing.md', known) ?? '', /missing\.md does not exist/);
  });

  test('to a heading', () => {
    assert.match(problem(page, '#another', known) ?? '', /no such heading/);
    assert.equal(problem(page, '#one-heading', known), undefined);
  });
});
