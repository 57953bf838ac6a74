/** What dcred has made in a namespace, without what differs between two runs with the same result: times, ids, keys. */
import { createHash } from 'node:crypto';
import type { ApiObject } from './admin.ts';
import { isIssued, type Observation } from './checker.ts';

type Entries = Readonly<Record<string, string>>;

const VARYING = [
  'dcred.dev/credential-sha256',
  'dcred.dev/issued-at',
  'dcred.dev/expires-at',
  'dcred.dev/renew-at',
  'dcred.dev/pod-uid',
];
const TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g;

export function normalised(observation: Observation): string {
  const secrets = observation.secrets.filter(isIssued).map(normalisedSecret);
  const resources = observation.resources.map(normalisedResource);
  const text = JSON.stringify({ secrets: sorted(secrets), resources: sorted(resources) }, undefined, 1);
  return text.replaceAll(observation.namespace, 'NAMESPACE').replaceAll(TIME, 'TIME');
}

function normalisedSecret({ data, metadata, type }: ApiObject) {
  const { annotations = {}, labels = {}, name, ownerReferences = [] } = metadata;
  const files = (data ?? {}) as Entries;
  return {
    name,
    type,
    labels: entries(labels),
    annotations: entries(annotations).filter(([key]) => !VARYING.includes(key)),
    owners: ownerReferences.map(({ kind, name: owner }) => `${kind}/${owner}`),
    files: Object.keys(files).sort(),
    chain: createHash('sha256')
      .update(files['tls.crt'] ?? '')
      .digest('hex'),
  };
}

interface Status {
  readonly conditions?: readonly {
    readonly type: string;
    readonly status: string;
    readonly reason: string;
    readonly message: string;
  }[];
  readonly pods?: unknown;
  readonly certificate?: unknown;
}

function normalisedResource({ metadata, status }: ApiObject) {
  const { certificate, conditions = [], pods } = (status ?? {}) as Status;
  const told = conditions.map(({ message, reason, status: holds, type }) => [type, holds, reason, message].join(' '));
  return { name: metadata.name, conditions: told.sort((a, b) => a.localeCompare(b)), pods, certificate };
}

function entries(of: Entries): readonly (readonly [string, string])[] {
  return Object.entries(of).sort(([a], [b]) => a.localeCompare(b));
}

function sorted<T extends { readonly name: string }>(items: readonly T[]): readonly T[] {
  return [...items].sort((a, b) => a.name.localeCompare(b.name));
}
