/** Grafana's JSON model of the chart's dashboards. */
import type { Dashboard, Panel } from './dashboard.ts';
import { FLEET } from './fleet.ts';
import { OPERATOR } from './operator.ts';
import { SIGNER } from './signer.ts';

// biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of Grafana's
const DATASOURCE = { type: 'prometheus', uid: '${datasource}' };
const COLUMNS = 24;
const HEIGHT = { stat: 4, table: 8, timeseries: 8 } as const;

/** Paths from the project's root, and their content. */
export function dashboards(): readonly { readonly path: string; readonly content: string }[] {
  return [FLEET, OPERATOR, SIGNER].map((dashboard) => ({
    path: `charts/dcred/dashboards/${dashboard.file}`,
    content: `${JSON.stringify(model(dashboard), undefined, 1)}\n`,
  }));
}

/** Grafana's JSON model, schema version 39 (Grafana 10 and later). */
function model({ description, panels, title, uid, variables }: Dashboard): object {
  return {
    uid,
    title,
    description,
    tags: ['dcred'],
    schemaVersion: 39,
    version: 1,
    editable: true,
    refresh: '1m',
    time: { from: 'now-24h', to: 'now' },
    templating: { list: [datasourceVariable(), ...variables.map(labelVariable)] },
    panels: place(panels).map(panelModel),
  };
}

function datasourceVariable(): object {
  return { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus', hide: 0 };
}

function labelVariable([label, metric]: readonly [string, string]): object {
  const query = `label_values(${metric}, ${label})`;
  return {
    name: label,
    type: 'query',
    datasource: DATASOURCE,
    definition: query,
    query: { query, refId: label },
    includeAll: true,
    multi: true,
    allValue: '.*',
    current: { selected: true, text: ['All'], value: ['$__all'] },
    refresh: 2,
    sort: 1,
  };
}

type Placed = Panel & { readonly id: number; readonly x: number; readonly y: number };

/** From left to right; a panel that does not fit starts the next row, below the tallest panel of the last. */
function place(panels: readonly Panel[]): readonly Placed[] {
  let [x, y, highest] = [0, 0, 0];
  return panels.map((panel, index) => {
    if (x + panel.width > COLUMNS) [x, y, highest] = [0, y + highest, 0];
    const placed = { ...panel, id: index + 1, x, y };
    x += panel.width;
    highest = Math.max(highest, HEIGHT[panel.type]);
    return placed;
  });
}

function panelModel({
  description,
  id,
  queries,
  thresholds,
  title,
  type,
  unit = 'short',
  width,
  x,
  y,
}: Placed): object {
  const steps = (thresholds ?? [[null, 'green']]).map(([value, color]) => ({ value, color }));
  return {
    id,
    title,
    description,
    type,
    datasource: DATASOURCE,
    gridPos: { x, y, w: width, h: HEIGHT[type] },
    fieldConfig: { defaults: { unit, thresholds: { mode: 'absolute', steps } }, overrides: [] },
    options: options(type),
    targets: queries.map(([expr, legendFormat], index) => ({
      refId: String.fromCharCode('A'.charCodeAt(0) + index),
      datasource: DATASOURCE,
      expr,
      legendFormat,
      instant: type !== 'timeseries',
      range: type === 'timeseries',
      ...(type === 'table' ? { format: 'table' } : {}),
    })),
  };
}

function options(type: Panel['type']): object {
  if (type === 'stat') return { colorMode: 'background', graphMode: 'none', reduceOptions: { calcs: ['lastNotNull'] } };
  if (type === 'table') return { showHeader: true };
  return { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } };
}
