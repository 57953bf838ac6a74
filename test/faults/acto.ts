/**
 * Acto (Gu et al., SOSP 2023): a walk through declared states, one field at a time. After each step the cluster must be what an
 * operator that never saw the path makes of the same state.
 */
import { paths } from './admin.ts';
import type { Site } from './ground.ts';
import type { Leaves } from './workload.ts';

type Entries = Readonly<Record<string, string>>;
type Spec = Readonly<Record<string, unknown>>;

interface PodState {
  readonly labels: Entries;
  readonly annotations: Entries;
}

/** The declared state: what users write, and nothing that dcred makes. */
export interface Declared {
  readonly specs: Readonly<Record<string, Spec>>;
  readonly pods: Readonly<Record<string, PodState>>;
  /** Certificate Secrets: which of the leaves each holds. */
  readonly certificates: Readonly<Record<string, keyof Leaves>>;
}

export interface WalkStep {
  readonly what: string;
  readonly to: Declared;
}

/** For each field of the spec, values that differ in what they mean; undefined leaves it out. */
export const SPEC_VALUES: Readonly<Record<string, readonly unknown[]>> = {
  certificateRef: [
    { name: 'web-tls' },
    { name: 'other-tls' },
    { name: 'missing' },
    { name: 'web-tls', namespace: 'kube-public' },
  ],
  podSelector: [
    undefined,
    {},
    { matchLabels: { app: 'web' } },
    { matchLabels: { app: 'web', tier: 'front' } },
    { matchExpressions: [{ key: 'app', operator: 'In', values: ['web', 'shop'] }] },
    { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['web'] }] },
    { matchExpressions: [{ key: 'tier', operator: 'Exists' }] },
    { matchLabels: { app: 'web' }, matchExpressions: [{ key: 'tier', operator: 'DoesNotExist' }] },
  ],
  usage: ['Server', 'Client'],
  keyAlgorithm: ['ECDSAP256', 'ECDSAP384', 'ECDSAP521', 'Ed25519'],
  lifetimeSeconds: [3_600, 86_400, 601_200],
  renewBeforeSeconds: [undefined, 600, 3_000],
  secretTemplate: [
    undefined,
    { labels: { team: 'edge' } },
    { annotations: { 'example.com/note': 'one' } },
    { labels: { team: 'shop', tier: 'front' }, annotations: { 'example.com/note': 'two' } },
  ],
  suspend: [false, true],
};

/** Secret names that no pod gets: an invalid one, and that of a Secret that dcred did not issue. */
const UNUSABLE_NAMES: readonly string[] = ['Not_a_Name', 'stranger'];

/** For each label and annotation of a pod that dcred reads. */
const LABEL_VALUES: Readonly<Record<string, readonly (string | undefined)[]>> = {
  app: ['web', 'shop', undefined],
  tier: ['front', undefined],
  'dcred.dev/inject': ['web', 'api', 'nobody', undefined],
};
const ANNOTATION_VALUES: Readonly<Record<string, readonly (string | undefined)[]>> = {
  'dcred.dev/inject': ['api', 'web,api', '', undefined],
  // Each pod's own name stands in for POD: if two pods had one name, the result would depend on which came first.
  'secret.dcred.dev/web': ['chosen-POD', ...UNUSABLE_NAMES, undefined],
  'secret.dcred.dev/api': ['api.chosen.POD', undefined],
};

export const START: Declared = {
  specs: {
    web: { certificateRef: { name: 'web-tls' }, podSelector: { matchLabels: { app: 'web' } }, lifetimeSeconds: 7_200 },
  },
  pods: {
    a: { labels: { app: 'web' }, annotations: {} },
    b: { labels: { app: 'shop', tier: 'front' }, annotations: {} },
  },
  certificates: { 'web-tls': 'first', 'other-tls': 'second' },
};

/** The names that a walk uses. */
const RESOURCES = ['web', 'api'];
const POD_NAMES = ['a', 'b', 'c'];
const API_SPEC: Spec = { certificateRef: { name: 'other-tls' }, podSelector: {}, lifetimeSeconds: 7_200 };

export function walk(length: number, random: () => number): readonly WalkStep[] {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
  const steps: WalkStep[] = [];
  let at = START;
  while (steps.length < length) {
    const next = oneStep(at, pick);
    if (next === undefined || JSON.stringify(next.to) === JSON.stringify(at)) continue;
    steps.push(next);
    at = next.to;
  }
  return steps;
}

type Pick = <T>(items: readonly T[]) => T;

function oneStep(at: Declared, pick: Pick): WalkStep | undefined {
  const kind = pick([
    'spec',
    'spec',
    'spec',
    'spec',
    'label',
    'label',
    'annotation',
    'annotation',
    'pod',
    'resource',
    'certificate',
  ]);
  if (kind === 'spec') return changeSpec(at, pick);
  if (kind === 'resource') return toggle(at, 'specs', pick(RESOURCES), API_SPEC);
  if (kind === 'pod') return toggle(at, 'pods', pick(POD_NAMES), { labels: { app: 'web' }, annotations: {} });
  if (kind === 'certificate') {
    const name = pick(['web-tls', 'other-tls']);
    const leaf = pick(['first', 'second', 'longer'] as const);
    return { what: `certificate ${name} = ${leaf}`, to: { ...at, certificates: { ...at.certificates, [name]: leaf } } };
  }
  return changePod(at, kind === 'label' ? 'labels' : 'annotations', pick);
}

function changeSpec(at: Declared, pick: Pick): WalkStep | undefined {
  const name = pick(RESOURCES);
  const spec = at.specs[name];
  if (spec === undefined) return undefined;
  const field = pick(Object.keys(SPEC_VALUES));
  const value = pick(SPEC_VALUES[field] ?? []);
  const { [field]: _, ...others } = spec;
  const changed = value === undefined ? others : { ...others, [field]: value };
  const { lifetimeSeconds = 172_800, renewBeforeSeconds = 0 } = changed as {
    lifetimeSeconds?: number;
    renewBeforeSeconds?: number;
  };
  if (renewBeforeSeconds >= lifetimeSeconds) return undefined;
  const what = `${name}: ${field} = ${JSON.stringify(value)}`;
  return { what, to: { ...at, specs: { ...at.specs, [name]: changed } } };
}

function changePod(at: Declared, part: 'labels' | 'annotations', pick: Pick): WalkStep | undefined {
  const name = pick(POD_NAMES);
  const pod = at.pods[name];
  if (pod === undefined) return undefined;
  const values = part === 'labels' ? LABEL_VALUES : ANNOTATION_VALUES;
  const key = pick(Object.keys(values));
  const value = pick(values[key] ?? [])?.replaceAll('POD', name);
  const { [key]: _, ...others } = pod[part];
  const changed = { ...pod, [part]: value === undefined ? others : { ...others, [key]: value } };
  const what = `pod ${name}: ${part}[${key}] = ${JSON.stringify(value)}`;
  return { what, to: { ...at, pods: { ...at.pods, [name]: changed } } };
}

function toggle(at: Declared, part: 'specs' | 'pods', name: string, fresh: Spec | PodState): WalkStep {
  const { [name]: present, ...others } = at[part] as Readonly<Record<string, unknown>>;
  const changed = present === undefined ? { ...others, [name]: fresh } : others;
  const what = `${part === 'specs' ? 'resource' : 'pod'} ${name} ${present === undefined ? 'created' : 'deleted'}`;
  return { what, to: { ...at, [part]: changed } };
}

/** Pods that request an unusable Secret name for this resource: they keep the Secret under their earlier name. */
export function withoutUsableName({ pods }: Declared, resource: string): ReadonlySet<string> {
  const asked = Object.entries(pods).map(
    ([pod, { annotations }]) => [pod, annotations[`secret.dcred.dev/${resource}`]] as const,
  );
  return new Set(asked.filter(([, name]) => name !== undefined && UNUSABLE_NAMES.includes(name)).map(([pod]) => pod));
}

/** Brings the cluster to the declared state by the changes that a user would make. */
export async function declare(site: Site, from: Declared, to: Declared, leaves: Leaves): Promise<void> {
  for (const [name, leaf] of Object.entries(to.certificates)) {
    if (from.certificates[name] !== leaf) await site.putCertificate(leaves[leaf], name);
  }
  for (const [name, pod] of Object.entries(to.pods)) {
    const before = from.pods[name];
    if (before === undefined) await site.createPod(name, pod.labels, pod.annotations);
    else if (before !== pod) {
      const metadata = {
        labels: difference(before.labels, pod.labels),
        annotations: difference(before.annotations, pod.annotations),
      };
      await site.admin.patch(`${paths.pods(site.namespace)}/${name}`, { metadata });
    }
  }
  for (const name of Object.keys(from.pods)) if (to.pods[name] === undefined) await site.deletePod(name);
  for (const [name, spec] of Object.entries(to.specs)) {
    if (from.specs[name] === undefined) await site.createResource(spec, name);
    else if (from.specs[name] !== spec) await replaceSpec(site, name, spec);
  }
  for (const name of Object.keys(from.specs)) {
    if (to.specs[name] === undefined) await site.admin.delete(`${paths.resources(site.namespace)}/${name}`);
  }
}

/** Retried, because the operator writes the status meanwhile and the version may be stale by the time it is used. */
async function replaceSpec(site: Site, name: string, spec: Spec): Promise<void> {
  const path = `${paths.resources(site.namespace)}/${name}`;
  for (;;) {
    const { status } = await site.admin.call('PUT', path, { ...(await site.admin.get(path)), spec });
    if (status === 200) return;
    if (status !== 409) throw new Error(`PUT ${path}: ${status}`);
  }
}

function difference(before: Entries, after: Entries): Readonly<Record<string, string | null>> {
  const gone = Object.keys(before).filter((key) => after[key] === undefined);
  return { ...Object.fromEntries(gone.map((key) => [key, null])), ...after };
}

export const EMPTY: Declared = { specs: {}, pods: {}, certificates: {} };
