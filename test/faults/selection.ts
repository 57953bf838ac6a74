/** Which pods a resource selects and what their Secrets are called: a second implementation of the contract. */
import { createHash } from 'node:crypto';
import type { ApiObject } from './admin.ts';

interface Requirement {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[];
}

interface Spec {
  readonly certificateRef: { readonly name: string; readonly namespace?: string };
  readonly podSelector?: {
    readonly matchLabels?: Readonly<Record<string, string>>;
    readonly matchExpressions?: readonly Requirement[];
  };
  readonly suspend?: boolean;
}

export interface ObservedResource {
  readonly raw: ApiObject;
  readonly name: string;
  readonly generation: number;
  readonly certificateName: string;
  /** Undefined: the resource's own namespace. */
  readonly certificateNamespace: string | undefined;
  readonly selector: Spec['podSelector'];
  readonly suspended: boolean;
}

export function readResource(raw: ApiObject): ObservedResource {
  const { certificateRef, podSelector, suspend = false } = raw['spec'] as Spec;
  const { generation = 0, name, namespace } = raw.metadata;
  const other = certificateRef.namespace;
  return {
    raw,
    name,
    generation,
    certificateName: certificateRef.name,
    certificateNamespace: other === namespace ? undefined : other,
    selector: podSelector,
    suspended: suspend,
  };
}

export function selectedBy({ name, selector }: ObservedResource, { metadata }: ApiObject): boolean {
  const labels = new Map(Object.entries(metadata.labels ?? {}));
  if (selector === undefined) return injectedNames(metadata).includes(name);
  const { matchExpressions = [], matchLabels = {} } = selector;
  const all = Object.entries(matchLabels).every(([key, value]) => labels.get(key) === value);
  return all && matchExpressions.every((requirement) => holds(requirement, labels));
}

function injectedNames({ annotations = {}, labels = {} }: ApiObject['metadata']): readonly string[] {
  const label = labels['dcred.dev/inject'];
  if (label === undefined) return [];
  return [label, ...(annotations['dcred.dev/inject'] ?? '').split(',')].map((name) => name.trim());
}

function holds({ key, operator, values = [] }: Requirement, labels: ReadonlyMap<string, string>): boolean {
  const value = labels.get(key);
  if (operator === 'In') return value !== undefined && values.includes(value);
  if (operator === 'NotIn') return value === undefined || !values.includes(value);
  return operator === 'Exists' ? value !== undefined : value === undefined;
}

const LONGEST_NAME = 253;

/** Undefined where the pod's annotation is not a valid name. */
export function secretNameFor({ name }: ObservedResource, { metadata }: ApiObject): string | undefined {
  const chosen = metadata.annotations?.[`secret.dcred.dev/${name}`];
  if (chosen !== undefined) return isName(chosen) ? chosen : undefined;
  const plain = `${name}-${metadata.name}`;
  if (plain.length <= LONGEST_NAME) return plain;
  const hash = createHash('sha256').update(plain).digest('hex').slice(0, 10);
  return `${plain.slice(0, LONGEST_NAME - 11).replace(/[^a-z0-9]+$/, '')}-${hash}`;
}

function isName(text: string): boolean {
  const label = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
  return text.length <= LONGEST_NAME && text.split('.').every((part) => label.test(part));
}
