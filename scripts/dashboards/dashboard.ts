/** What a dashboard is made from: one idea a row, one question a panel. */

export interface Panel {
  readonly title: string;
  /** What the panel answers, and what to do when it looks wrong. */
  readonly description: string;
  readonly type: 'timeseries' | 'stat' | 'table';
  /** Of 24. */
  readonly width: number;
  readonly unit?: string;
  /** Query and legend. */
  readonly queries: readonly (readonly [expression: string, legend: string])[];
  /** Values from which the colour changes, with the colour. */
  readonly thresholds?: readonly (readonly [from: number | null, colour: string])[];
}

export interface Dashboard {
  readonly file: string;
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  /** A label with its metric, offered as a drop-down list; `$namespace` in the queries. */
  readonly variables: readonly (readonly [label: string, metric: string])[];
  readonly panels: readonly Panel[];
}

export const RED_IF_ANY = [
  [null, 'green'],
  [1, 'red'],
] as const;
