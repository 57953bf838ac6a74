/** The documentation as a site: built strictly, complete, searchable, and nothing of it loaded from elsewhere. */
import assert from 'node:assert/strict';
import { glob, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { buildSite } from '../../scripts/site.ts';
import { Chromium, findChromium } from '../../testing/peers/chromium.ts';

/** What a browser loads by itself; links are followed by the reader. */
const LOADED =
  /<(?:script|img|iframe)[^>]*\ssrc="([^"]+)"|<link[^>]*rel="(?:stylesheet|preload|preconnect|icon)"[^>]*href="([^"]+)"/g;

test('the site is built without a dead link, can be searched, and loads nothing from elsewhere', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'dcred-site-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const site = await buildSite(join(folder, 'site'));
  if (!site.built) {
    assert.ok(!site.isFailure && process.env['CI'] !== 'true', site.reason);
    t.skip(site.reason);
    return;
  }
  const pages = new Map<string, string>();
  for await (const file of glob('**/*.html', { cwd: site.folder })) {
    pages.set(file, await readFile(join(site.folder, file), 'utf8'));
  }
  const wanted = ['index', 'docs/api', 'docs/runbook', 'docs/adr/index', 'charts/dcred/index', 'examples/fizz/index'];
  for (const name of wanted) assert.ok(pages.has(`${name}.html`), name);
  for (const [file, text] of pages) {
    assert.match(text, /<meta name="viewport"/, file);
    const loaded = [...text.matchAll(LOADED)].map(([, script, style]) => script ?? style ?? '');
    assert.ok(loaded.length > 0, file);
    assert.deepEqual(
      loaded.filter((url) => /^(?:https?:)?\/\//.test(url)),
      [],
      file,
    );
  }
  assert.doesNotMatch(pages.get('docs/api.html') ?? '', /<em>/, '"_" and "*" in descriptions are not emphasis');
  const index = await readFile(join(site.folder, 'search', 'search_index.js'), 'utf8');
  for (const word of ['SecretNameTaken', 'DcredCredentialExpiresSoon', 'renewBeforeSeconds']) {
    assert.ok(index.includes(word), word);
  }
  const missing = await findChromium();
  await t.test('fits a phone, with names and pictures that can be read', { skip: missing ?? false }, () =>
    assertFitsPhone(site.folder),
  );
});

async function assertFitsPhone(folder: string): Promise<void> {
  await using chromium = await Chromium.start();
  for (const name of ['index', 'docs/reference', 'docs/delegated-credentials', 'docs/performance', 'docs/runbook']) {
    const url = pathToFileURL(join(folder, `${name}.html`)).href;
    const page = await chromium.open(url, { width: 390, height: 844, scheme: 'dark' });
    const seen = await page.evaluate<{ overflow: number; broken: string[]; small: string[] }>(`({
      overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
      broken: [...document.querySelectorAll('td:first-child code')].filter((one) => one.textContent.length <= 18 && one.getClientRects().length > 1).map((one) => one.textContent),
      small: [...document.querySelectorAll('p > img[src$=".svg"]')].filter((one) => one.clientWidth < 600).map((one) => one.src),
    })`);
    assert.deepEqual(seen, { overflow: 0, broken: [], small: [] }, name);
    assert.deepEqual(page.complaints, [], name);
  }
  const url = pathToFileURL(join(folder, 'docs', 'api.html')).href;
  const page = await chromium.open(url, { width: 375, height: 844, scheme: 'light' });
  const cut = await page.evaluate<string[]>(`
    [...document.querySelectorAll('td')].filter((one) => one.getBoundingClientRect().right > innerWidth).map((one) => one.textContent)
  `);
  assert.deepEqual(cut, [], 'the fields of an API are read without scrolling sideways');
}
