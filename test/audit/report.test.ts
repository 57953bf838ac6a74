/** The HTML report, in a real browser: Chromium. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { auditReport, embeddedJson, escapeHtml } from '../../src/audit/report/document.ts';
import { STYLE } from '../../src/audit/report/style.ts';
import { FINDINGS } from '../../src/audit/verdict.ts';
import { Chromium, findChromium, type PageOptions } from '../../testing/peers/chromium.ts';
import { imaginaryFleet } from '../../testing/support/imaginary-fleet.ts';

const absent = await findChromium();
const DESKTOP: PageOptions = { width: 1280, height: 900, scheme: 'light' };

/** Injections that a user who chooses names could try. Each would leave a mark on the page. */
const HOSTILE = [
  '</script><script>document.title="taken"</script>',
  '<img src=x onerror="document.title=\'taken\'">',
  '<!--<script>',
  '"><svg onload=alert(1)>',
  "' onmouseover='alert(1)",
  '\u2028alert(1)//',
  '\u202egnp.exe',
  '&lt;b&gt;',
  'javascript:alert(1)',
];

describe('the report in Chromium', { skip: absent ?? false }, () => {
  let chromium: Chromium;
  let folder: string;
  before(async () => {
    chromium = await Chromium.start();
    folder = await mkdtemp(join(tmpdir(), 'dcred-report-'));
  });
  after(async () => {
    await chromium?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  async function open(options: Parameters<typeof imaginaryFleet>[0], view: PageOptions = DESKTOP) {
    const file = join(folder, 'report.html');
    await writeFile(file, auditReport(imaginaryFleet(options), '0.0.0'));
    const url = pathToFileURL(file).href;
    return { page: await chromium.open(url, view), url };
  }

  for (const [width, scheme] of [
    [1280, 'light'],
    [1280, 'dark'],
    [390, 'light'],
    [390, 'dark'],
    [320, 'light'],
  ] as const) {
    test(`at ${width} pixels, ${scheme}, fits, loads nothing and has no error`, async () => {
      const every = (index: number) => [...FINDINGS, 'current' as const][index % 9] ?? 'current';
      const { page, url } = await open({ pods: 40, stateOf: every }, { ...DESKTOP, width, scheme });
      const seen = await page.evaluate<{
        ready: string;
        page: number;
        view: number;
        wide: string[];
        background: string;
      }>(`({
        ready: document.documentElement.dataset.ready,
        page: document.documentElement.scrollWidth,
        view: document.documentElement.clientWidth,
        wide: [...document.querySelectorAll('main *')].filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 80)),
        background: getComputedStyle(document.body).backgroundColor,
      })`);
      assert.equal(seen.ready, 'true');
      assert.ok(seen.page <= seen.view, `${seen.page} pixels in ${seen.view}`);
      assert.deepEqual(seen.wide, []);
      assert.equal(seen.background, scheme === 'light' ? 'rgb(246, 247, 249)' : 'rgb(17, 21, 27)');
      assert.deepEqual(page.complaints, []);
      assert.deepEqual(page.requests, [url]);
    });
  }

  test('shows text from strangers, and runs none of it', async () => {
    const text = (index: number) => HOSTILE[index % HOSTILE.length] ?? '';
    const { page } = await open({
      pods: 20,
      nameOf: text,
      messageOf: text,
      namespace: text(1),
      stateOf: () => 'stale',
    });
    const seen = await page.evaluate<{
      title: string;
      foreign: number;
      names: string[];
      details: string[];
      head: string;
    }>(`(() => {
      const details = [...document.querySelectorAll('#list .row')].map((row) => { row.click(); row.dispatchEvent(new PointerEvent('pointermove')); return document.getElementById('detail').textContent; });
      const foreign = document.querySelectorAll('img, svg, b:not(.tile b), iframe, object, script:not([id]):not(:last-of-type)').length;
      return { title: document.title, foreign, names: [...document.querySelectorAll('#list .mono')].map((one) => one.textContent), details, head: document.querySelector('.resource .mono').textContent };
    })()`);
    assert.equal(seen.title.startsWith('dcred audit'), true, seen.title);
    assert.equal(seen.foreign, 0);
    assert.equal(page.dialogs, 0);
    assert.deepEqual(page.complaints, []);
    assert.ok(
      seen.names.some((name) => name.endsWith(`/${HOSTILE[0]}`)),
      'shown as it is',
    );
    assert.ok(!seen.names.some((name) => name.includes('\u202e')), 'what turns the reading direction is escaped');
    assert.ok(seen.details.some((one) => one.includes('<!--<script>')));
    assert.ok(seen.head.startsWith('<img src=x onerror='), seen.head);
  });

  test("writes the leaf's expiry above the bars, not on them", async () => {
    for (const width of [390, 1280]) {
      const { page } = await open({ pods: 1 }, { ...DESKTOP, width });
      const ofTheBar = await page.evaluate<readonly number[]>(`(() => {
        const canvas = document.getElementById('picture');
        const context = canvas.getContext('2d');
        const bar = String(context.getImageData(canvas.width / 4, 32, 1, 1).data);
        const row = (y) => [...Array(canvas.width).keys()].filter((x) => String(context.getImageData(x, y, 1, 1).data) === bar);
        return [row(10).length, row(32).length];
      })()`);
      assert.equal(ofTheBar[0], 0, `at ${width} pixels`);
      assert.ok((ofTheBar[1] ?? 0) > width / 2, `at ${width} pixels`);
    }
  });

  test('has a policy that would stop an injected script', async () => {
    const { page } = await open({ pods: 1 });
    await page.evaluate(
      `(() => { const script = document.createElement('script'); try { script.textContent = 'document.title = "taken"'; document.body.append(script); } catch {} })()`,
    );
    await page.evaluate(
      `(() => { try { document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="document.title=1">'); } catch {} })()`,
    );
    await page.evaluate(`fetch('https://example.invalid/').catch(() => {})`);
    assert.match(await page.evaluate<string>('document.title'), /^dcred audit/);
    assert.equal(await page.evaluate<number>(`document.querySelectorAll('img').length`), 0);
    assert.ok(page.complaints.length >= 2, 'each attempt is a violation of the policy');
  });

  test('opens with 10,000 pods, of which only those in view are rows', async (t) => {
    const { page } = await open({ pods: 10_000 });
    const seen = await page.evaluate<{ rows: number; count: string; loaded: number }>(
      `({ rows: document.querySelectorAll('#list .row').length, count: document.getElementById('count').textContent, loaded: performance.getEntriesByType('navigation')[0].loadEventEnd })`,
    );
    assert.ok(seen.rows > 5 && seen.rows < 100, `${seen.rows} rows`);
    assert.equal(seen.count, '10000 of 10000');
    t.diagnostic(`10,000 pods loaded in ${Math.round(seen.loaded)} ms`);
    const last = await page.evaluate<string>(`new Promise((resolve) => {
      const scroll = document.getElementById('rows');
      scroll.scrollTop = scroll.scrollHeight;
      const look = () => { const rows = document.querySelectorAll('#list .row'); const top = parseFloat(rows[rows.length - 1].style.top); top > 300000 ? resolve(rows[rows.length - 1].textContent) : requestAnimationFrame(look); };
      look();
    })`);
    assert.match(last, /^current/);
  });

  test('is filtered and sorted', async () => {
    const { page } = await open({
      pods: 200,
      stateOf: (index) => (index < 3 ? 'stale' : 'current'),
      nameOf: (index) => `pod-${index}`,
    });
    const column = (name: string) => `document.querySelector('[data-column="${name}"]').click()`;
    const names = `[...document.querySelectorAll('#list .mono')].map((one) => one.textContent)`;
    const first = await page.evaluate<string[]>(names);
    assert.deepEqual(first.slice(0, 3).toSorted(), ['edge/pod-0', 'edge/pod-1', 'edge/pod-2'], 'findings come first');
    assert.equal((await page.evaluate<string[]>(`${column('pod')}, ${names}`))[0], 'edge/pod-0');
    assert.equal((await page.evaluate<string[]>(`${column('pod')}, ${names}`))[0], 'edge/pod-99');
    await page.evaluate(`document.querySelector('[data-state="stale"]').click()`);
    assert.equal((await page.evaluate<string[]>(names)).length, 3);
    await page.evaluate(
      `(() => { const input = document.getElementById('filter'); input.value = 'POD-2'; input.dispatchEvent(new Event('input')); })()`,
    );
    assert.deepEqual(await page.evaluate<string[]>(names), ['edge/pod-2']);
  });

  test('says so where there is nothing to show', async () => {
    const { page } = await open({ pods: 0 });
    assert.match(await page.evaluate<string>('document.body.textContent'), /There is no server to audit/);
    assert.deepEqual(page.complaints, []);
  });
});

describe('text in the page', () => {
  test('is escaped, whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        assert.doesNotMatch(escapeHtml(text), /[<>"']/);
        const json = embeddedJson({ text });
        assert.ok(!json.includes('<'));
        assert.deepEqual(JSON.parse(json), { text });
      }),
    );
  });
});

/** WCAG 2.2, 1.4.3: text needs 4.5 to 1. */
test('every colour of text has enough contrast, in light and in dark', () => {
  const schemes = [...STYLE.matchAll(/--page: [^}]+/g)].map(
    ([block]) =>
      new Map([...block.matchAll(/--([a-z]+): (#[0-9a-f]{6})/g)].map(([, name = '', value = '']) => [name, value])),
  );
  assert.equal(schemes.length, 2);
  for (const colours of schemes) {
    for (const ground of ['page', 'card']) {
      for (const text of ['text', 'soft', 'current', 'bad', 'warn', 'idle', 'leaf']) {
        const ratio = contrast(colours.get(text) ?? '', colours.get(ground) ?? '');
        assert.ok(ratio >= 4.5, `${text} on ${ground}: ${ratio.toFixed(2)}`);
      }
    }
  }
});

function contrast(a: string, b: string): number {
  const [light = 0, dark = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (light + 0.05) / (dark + 0.05);
}

function luminance(colour: string): number {
  const [red = 0, green = 0, blue = 0] = [1, 3, 5]
    .map((at) => Number.parseInt(colour.slice(at, at + 2), 16) / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
