import { join } from 'node:path';
import { loadAll } from 'js-yaml';
import { ensureBinaries } from '../../testing/controlplane/binaries.ts';
import { type Output, run } from '../../testing/support/processes.ts';

export const ROOT = join(import.meta.dirname, '..', '..');
export const CHART = join(ROOT, 'charts', 'dcred');
export const NAMESPACE = 'dcred-system';

/** Values as a person would write them into a file of their own. */
export type Values = Readonly<Record<string, unknown>>;

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  /** Whatever the kind has. Tests look at what they need and say what it is. */
  // biome-ignore lint/suspicious/noExplicitAny: manifests of a dozen kinds, read by tests only
  readonly [field: string]: any;
}

/** helm without a cluster. */
export async function helm(args: readonly string[], input?: string): Promise<Output> {
  const binaries = await ensureBinaries(['helm']);
  return run(binaries.helm, args, input === undefined ? {} : { input });
}

/** `helm template` as text. Rejects with what helm says, as of values that the schema refuses. */
export async function renderText(values: Values = {}, release = 'dcred'): Promise<string> {
  const args = ['template', release, CHART, '--namespace', NAMESPACE, '--values', '-'];
  return (await helm(args, JSON.stringify(values))).stdout;
}

/** The same as objects. */
export async function render(values: Values = {}, release = 'dcred'): Promise<readonly Manifest[]> {
  const objects = loadAll(await renderText(values, release)) as readonly (Manifest | null)[];
  return objects.flatMap((object) => (object === null ? [] : [object]));
}

/** The one object of this kind, and of this name where one is given. */
export function pick(objects: readonly Manifest[], kind: string, name?: string): Manifest {
  const found = objects.filter(
    (object) => object.kind === kind && (name === undefined || object.metadata.name === name),
  );
  const [only] = found;
  if (only === undefined || found.length > 1) throw new Error(`expected one ${kind}, found ${found.length}`);
  return only;
}

export function deployments(objects: readonly Manifest[]): readonly Manifest[] {
  return objects.filter(({ kind }) => kind === 'Deployment');
}

/** What the operator is run by, told from what the webhook is. */
export function operatorOf(objects: readonly Manifest[]): Manifest {
  return deploymentOf(objects, 'operator');
}

export function deploymentOf(objects: readonly Manifest[], component: 'operator' | 'webhook'): Manifest {
  const isOurs = ({ metadata }: Manifest) => metadata.labels?.['app.kubernetes.io/component'] === component;
  return pick(objects.filter(isOurs), 'Deployment');
}

/** The Deployment's pod template as a pod of its own, to be judged by admission. */
export function podOf(deployment: Manifest): object {
  const { metadata, spec } = deployment['spec'].template;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { ...metadata, name: 'judged', namespace: deployment.metadata.namespace },
    spec,
  };
}

export function list(objects: readonly object[]): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
}
