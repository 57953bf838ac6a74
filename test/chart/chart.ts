import { join } from 'node:path';
import { loadAll } from 'js-yaml';
import { ensureBinaries } from '../../testing/controlplane/binaries.ts';
import { type Output, run } from '../../testing/support/processes.ts';

export const ROOT = join(import.meta.dirname, '..', '..');
export const CHART = join(ROOT, 'charts', 'dcred');
export const NAMESPACE = 'dcred-system';

/** Values, as in a user's values file. */
export type Values = Readonly<Record<string, unknown>>;

/** `signer`, with what makes two renders equal where no cluster can be asked. */
export const SIGNER: Values = {
  enabled: true,
  certificates: [{ namespace: 'vault', names: ['web-tls'] }],
  tls: { secretName: 'signer-cert' },
};

/** Every component, with more than one replica where it may have them. */
export const EVERY_COMPONENT: Values = {
  namespaces: ['edge'],
  signer: { ...SIGNER, replicas: 2 },
  audit: { enabled: true },
  issuer: { enabled: true, authorities: [{ namespace: 'vault', names: ['web-ca'] }] },
};

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  /** All other fields of the kind. */
  // biome-ignore lint/suspicious/noExplicitAny: manifests of a dozen kinds, read only by tests
  readonly [field: string]: any;
}

/** Runs helm without a cluster. */
export async function helm(args: readonly string[], input?: string): Promise<Output> {
  const binaries = await ensureBinaries(['helm']);
  return run(binaries.helm, args, input === undefined ? {} : { input });
}

/** `helm template` as text. Rejects with helm's message, for example when the schema refuses a value. */
export async function renderText(values: Values = {}, release = 'dcred'): Promise<string> {
  const args = ['template', release, CHART, '--namespace', NAMESPACE, '--values', '-'];
  return (await helm(args, JSON.stringify(values))).stdout;
}

/** The same as objects. */
export async function render(values: Values = {}, release = 'dcred'): Promise<readonly Manifest[]> {
  const objects = loadAll(await renderText(values, release)) as readonly (Manifest | null)[];
  return objects.flatMap((object) => (object === null ? [] : [object]));
}

/** The only object of this kind, and of this name if one is given. */
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

/** The operator's Deployment. */
export function operatorOf(objects: readonly Manifest[]): Manifest {
  return deploymentOf(objects, 'operator');
}

export function deploymentOf(
  objects: readonly Manifest[],
  component: 'operator' | 'webhook' | 'audit' | 'issuer' | 'signer',
): Manifest {
  const isOurs = ({ metadata }: Manifest) => metadata.labels?.['app.kubernetes.io/component'] === component;
  return pick(objects.filter(isOurs), 'Deployment');
}

/** The Deployment's pod template as a Pod, to be sent through admission. */
export function podOf(deployment: Manifest): object {
  const { metadata, spec } = deployment['spec'].template;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { ...metadata, name: 'from-template', namespace: deployment.metadata.namespace },
    spec,
  };
}

export function list(objects: readonly object[]): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects });
}
