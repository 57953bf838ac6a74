/**
 * Who wrote which field of an issued Secret, from `metadata.managedFields`.
 *
 * Issued Secrets are watched as metadata only, so their data never comes back. Yet an edit by another client must be noticed, also
 * one made while the operator was down. The API server records it: whoever changes or removes a field takes it from our field
 * manager. So a Secret is intact as long as we own every field that we wrote, and no other manager owns data that we do not:
 * a field with two owners has the value that both applied.
 */
import type { ManagedFieldsEntry } from '../kubernetes/objects.ts';

/** fieldsV1: `f:name` for a field, `k:{...}` for an item of a list. */
type Fields = Readonly<Record<string, unknown>>;

export interface ExpectedFields {
  readonly data: readonly string[];
  readonly labels: readonly string[];
  readonly annotations: readonly string[];
  readonly ownerUid: string;
}

export interface Ownership {
  /** Whether `manager` owns every expected field, and no other manager owns any other data. */
  readonly intact: boolean;
  /** Keys of labels and annotations that `manager` owns. */
  readonly labels: ReadonlySet<string>;
  readonly annotations: ReadonlySet<string>;
}

/**
 * A Secret without any managedFields counts as intact: the opposite would re-issue it without end.
 */
export function fieldOwnership(
  entries: readonly ManagedFieldsEntry[] | undefined,
  manager: string,
  expected: ExpectedFields,
): Ownership {
  if (entries === undefined || entries.length === 0) {
    return { intact: true, labels: new Set(expected.labels), annotations: new Set(expected.annotations) };
  }
  const ours = entries.filter((entry) => entry.manager === manager).map(fieldsOf);
  const others = entries.filter((entry) => entry.manager !== manager).map(fieldsOf);
  const data = ownedKeys(ours, 'data');
  const labels = ownedKeys(ours, 'metadata', 'labels');
  const annotations = ownedKeys(ours, 'metadata', 'annotations');
  const owners = ownedOwnerUids(ours);
  const intact =
    expected.data.every((key) => data.has(key)) &&
    expected.labels.every((key) => labels.has(key)) &&
    expected.annotations.every((key) => annotations.has(key)) &&
    owners.has(expected.ownerUid) &&
    [...ownedKeys(others, 'data')].every((key) => data.has(key));
  return { intact, labels, annotations };
}

/**
 * The record of a manager that owns these fields. Sent with a write, it replaces all existing records
 * (Kubernetes documentation, "Server-Side Apply", "Clearing managedFields").
 */
export function claimFields(
  manager: string,
  { annotations, data, labels, ownerUid }: ExpectedFields,
): ManagedFieldsEntry {
  return {
    manager,
    operation: 'Update',
    apiVersion: 'v1',
    fieldsType: 'FieldsV1',
    fieldsV1: {
      'f:data': fieldSet(data),
      'f:metadata': {
        'f:annotations': fieldSet(annotations),
        'f:labels': fieldSet(labels),
        'f:ownerReferences': { '.': {}, [`k:${JSON.stringify({ uid: ownerUid })}`]: {} },
      },
    },
  };
}

function fieldSet(keys: readonly string[]): Fields {
  return Object.fromEntries(['.', ...keys.map((key) => `f:${key}`)].map((field) => [field, {}]));
}

function fieldsOf(entry: ManagedFieldsEntry): Fields {
  return asFields(entry.fieldsV1);
}

function ownedKeys(sets: readonly Fields[], ...path: readonly string[]): ReadonlySet<string> {
  const keys = new Set<string>();
  for (const set of sets) {
    const fields = path.reduce((at, name) => asFields(at[`f:${name}`]), set);
    for (const field of Object.keys(fields)) if (field.startsWith('f:')) keys.add(field.slice(2));
  }
  return keys;
}

/** Owner references are a list keyed by uid: `k:{"uid":"..."}`. */
function ownedOwnerUids(sets: readonly Fields[]): ReadonlySet<string> {
  const uids = new Set<string>();
  for (const set of sets) {
    const items = asFields(asFields(set['f:metadata'])['f:ownerReferences']);
    for (const item of Object.keys(items)) {
      const uid = /^k:\{"uid":"([^"]+)"\}$/.exec(item)?.[1];
      if (uid !== undefined) uids.add(uid);
    }
  }
  return uids;
}

function asFields(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {};
}
