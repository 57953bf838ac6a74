/** Draws what a benchmark found as SVG: a bar up to the median, a dot for each round, a line for the goal. */

interface Bar {
  readonly label: string;
  /** One for each round. */
  readonly values: readonly number[];
}

export interface Chart {
  readonly title: string;
  readonly unit: string;
  readonly bars: readonly Bar[];
  readonly goal?: { readonly value: number; readonly label: string };
}

const WIDTH = 760;
const LABEL_WIDTH = 150;
const VALUE_WIDTH = 80;
const ROW = 26;
const HEAD = 44;
const GAP = 24;
const PLOT = WIDTH - LABEL_WIDTH - VALUE_WIDTH;

/** Charts below each other, each with its own scale from 0. */
export function drawBars(charts: readonly Chart[]): string {
  let top = GAP;
  const parts: string[] = [];
  for (const chart of charts) {
    parts.push(`<g transform="translate(0 ${top})">${drawChart(chart)}</g>`);
    top += HEAD + chart.bars.length * ROW + GAP;
  }
  const font = 'font-family="system-ui, sans-serif" font-size="13"';
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${top}" viewBox="0 0 ${WIDTH} ${top}" ${font}>` +
    `<title>${escaped(charts.map(({ title }) => title).join('; '))}</title>` +
    `<rect width="${WIDTH}" height="${top}" fill="#ffffff"/>${parts.join('')}</svg>\n`
  );
}

function drawChart({ bars, goal, title, unit }: Chart): string {
  const highest = Math.max(goal?.value ?? 0, ...bars.flatMap(({ values }) => values));
  const x = (value: number) => LABEL_WIDTH + (value / highest) * PLOT;
  const rows = bars.map((bar, index) => drawRow(bar, HEAD + index * ROW, x));
  const heading = text(20, 14, `${title}, ${unit}`, 'font-weight="600"');
  if (goal === undefined) return heading + rows.join('');
  const bottom = HEAD + bars.length * ROW;
  const at = x(goal.value).toFixed(1);
  const isLate = goal.value > highest / 2;
  const anchor = isLate ? 'text-anchor="end"' : '';
  const line = `<path d="M${at} ${HEAD - 8}V${bottom}" stroke="#1b7f4b" stroke-width="2" stroke-dasharray="4 3"/>`;
  return heading + rows.join('') + line + text(Number(at), HEAD - 12, goal.label, `fill="#1b7f4b" ${anchor}`);
}

function drawRow({ label, values }: Bar, top: number, x: (value: number) => number): string {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)] ?? 0;
  const bar = `<rect x="${LABEL_WIDTH}" y="${top + 4}" width="${(x(middle) - LABEL_WIDTH).toFixed(1)}" height="16" fill="#9db8d9"/>`;
  const dots = values.map((value) => `<circle cx="${x(value).toFixed(1)}" cy="${top + 12}" r="3.5" fill="#1f3b63"/>`);
  const figure = text(WIDTH - VALUE_WIDTH + 12, top + 17, middle.toPrecision(3), '');
  return text(LABEL_WIDTH - 10, top + 17, label, 'text-anchor="end"') + bar + dots.join('') + figure;
}

function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${x}" y="${y}" ${attributes}>${escaped(content)}</text>`;
}

function escaped(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
