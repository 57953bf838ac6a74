/** The generated files of the chart: its README, and its copies of the CustomResourceDefinitions. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { load } from 'js-yaml';
import { crdFiles } from '../src/api/crd-yaml.ts';
import { type ChartFile, chartReadme } from './chart-readme.ts';

const CHART = 'charts/dcred';

/** Paths from the project's root, and the content that each file should have. */
export async function chartFiles(
  root: string,
): Promise<readonly { readonly path: string; readonly content: string }[]> {
  const read = (name: string) => readFile(join(root, CHART, name), 'utf8');
  const [chart, source] = await Promise.all([read('Chart.yaml'), read('values.yaml')]);
  return [
    // Helm reads nothing outside the chart's folder, so the chart needs its own copies.
    ...crdFiles().map(({ name, yaml }) => ({ path: `${CHART}/files/crds/${name}`, content: yaml })),
    {
      path: `${CHART}/README.md`,
      content: chartReadme({ chart: load(chart) as ChartFile, source, values: load(source) }),
    },
  ];
}
