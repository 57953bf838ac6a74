/**
 * What injection changes in a pod that is being created. A pure function of the pod and of random bytes.
 *
 * Every call makes new Secret names and replaces the old ones, in the annotation and in the volume. The API server may call twice
 * for one pod (reinvocationPolicy IfNeeded), and nothing in the second call proves that what the pod carries came from the first:
 * each call has its own uid, the pod has no uid yet and often no name, and a signature could be copied with the rest from any
 * running pod. So no name in an incoming pod is trusted, not even our own; the later of two calls wins, and the results differ only
 * in the name.
 *
 * Ephemeral containers get no mount: they are added by an update, and whoever debugs a pod should request its key (by mounting the
 * volume) rather than find it. The volume works on Windows too: the kubelet maps the path to the system drive, as it does for
 * service account tokens.
 */

import { readInjectRequest } from '../../api/injection.ts';
import {
  gatedResource,
  gateName,
  INJECT_KEY,
  NOT_INJECTED_ANNOTATION,
  secretNameAnnotation,
  volumeName,
} from '../../api/keys.ts';
import type { AgentTemplate } from './agent-container.ts';
import { injectAgent } from './inject-agent.ts';
import { type JsonPatch, pointer, replaceItems, setEntries } from './json-patch.ts';
import type { LimitRangeItem } from './limit-range.ts';
import { containersPatch, narrowedTo } from './mounts.ts';
import type { AdmittedPod, SchedulingGate, Volume } from './pod.ts';
import { annotationsFit, patchFits, refusalPatch, TOO_LARGE, tooManyContainers } from './refusal.ts';
import { freshSecretName, type RandomBytes } from './secret-name.ts';

export interface Injection {
  /** Empty: the pod is not changed. */
  readonly patch: JsonPatch;
  /** For the person who creates the pod. */
  readonly warnings: readonly string[];
  /** The resources that the pod mounts now. */
  readonly injected: readonly string[];
}

export interface InjectionOptions {
  /** Undefined: pods that request a reload agent get a warning. */
  readonly agent?: AgentTemplate | undefined;
  /** Add a scheduling gate, which the operator removes once it has written the pod's Secrets. */
  readonly gatePods?: boolean;
}

/** What injection knows of a pod beside the pod itself. */
export interface PodContext {
  /** Of the LimitRanges of its namespace; empty where they are not known. */
  readonly limitRanges?: readonly LimitRangeItem[];
  /** Its size as JSON. */
  readonly bytes?: number;
}

/** Marks a mirror pod, the API object of a static pod. It cannot use Secrets: the API server would refuse it. */
const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';

/**
 * Readable by root and by the pod's group where it has one: the kubelet sets the files' group to `fsGroup`, and every container is a
 * member of it. Without one they belong to root alone, and a server that runs as another user, as PodSecurity `restricted` requires,
 * can read them only if everyone can. Setting fsGroup ourselves would change the owner of every other volume too.
 */
const GROUP_READABLE = 0o440;
const READABLE = 0o444;

export function inject(
  pod: AdmittedPod,
  random: RandomBytes,
  options: InjectionOptions = {},
  context: PodContext = {},
): Injection {
  const { metadata, spec } = pod;
  const annotations = metadata.annotations ?? {};
  const { names: requested, problems } = readInjectRequest(metadata.labels ?? {}, annotations);
  const notes = problems.map((problem) => `dcred.dev: ${problem}`);
  if (requested.length === 0) return unchanged(notes);
  if (Object.hasOwn(annotations, MIRROR_ANNOTATION)) {
    return unchanged([`dcred.dev: a static pod cannot use Secrets: remove the label ${INJECT_KEY}`]);
  }
  const excess = tooManyContainers(pod);
  if (excess !== undefined) return refused(pod, excess);
  const taken = new Set((spec.volumes ?? []).filter(isForeign).map(({ name }) => name));
  const resources = requested.filter((name) => !taken.has(volumeName(name)));
  const warnings = [
    ...notes,
    ...requested
      .filter((name) => taken.has(volumeName(name)))
      .map(
        (name) => `dcred.dev: "${name}" is not injected, because the pod has a volume "${volumeName(name)}": rename it`,
      ),
  ];
  if (resources.length === 0) return unchanged(warnings);
  const names = new Map(resources.map((resource) => [resource, freshSecretName(resource, random)] as const));
  const narrowed = narrowedTo(annotations);
  const containers = containersPatch(spec, resources, narrowed);
  const agent = injectAgent(pod, {
    resourceNames: resources,
    template: options.agent,
    narrowed,
    limitRanges: context.limitRanges ?? [],
  });
  const gates = options.gatePods === true ? gatesFor(spec, resources) : [];
  const written = Object.fromEntries([
    ...[...names].map(([resource, name]) => [secretNameAnnotation(resource), name]),
    ...gates.map(({ name }) => [name, GATE_CLOSED]),
  ]);
  const patch: JsonPatch = [
    ...removeEntry('/metadata/annotations', metadata.annotations, NOT_INJECTED_ANNOTATION),
    ...setEntries('/metadata/annotations', metadata.annotations, written),
    ...replaceItems('/spec/schedulingGates', spec.schedulingGates, isOwnGate, gates),
    ...volumesPatch(spec, names),
    ...containers.patch,
    ...agent.patch,
  ];
  if (!annotationsFit(metadata.annotations, written) || !patchFits(patch, context.bytes))
    return refused(pod, TOO_LARGE);
  return { patch, warnings: [...warnings, ...containers.warnings, ...agent.warnings], injected: resources };
}

function unchanged(warnings: readonly string[]): Injection {
  return { patch: [], warnings, injected: [] };
}

function refused(pod: AdmittedPod, reason: string): Injection {
  return { patch: refusalPatch(pod, reason), warnings: [`dcred.dev: not injected: ${reason}`], injected: [] };
}

/** A volume that another one of the same name cannot take the place of: containers may rely on its kind. */
function isForeign(volume: Volume): boolean {
  return volume['secret'] === undefined;
}

/** Value of the annotation that mirrors a gate, for people who read a pending pod. */
const GATE_CLOSED = 'until the Secret exists';

/** The API server refuses gates on a pod with a nodeName: there the kubelet waits for the Secret. */
function gatesFor({ nodeName }: AdmittedPod['spec'], resources: readonly string[]): readonly SchedulingGate[] {
  if (nodeName) return [];
  return resources.map((resource) => ({ name: gateName(resource) }));
}

/** Any resource's: a gate that came with a copied pod, for a resource that this pod does not request, would never be removed. */
function isOwnGate({ name }: SchedulingGate): boolean {
  return gatedResource(name) !== undefined;
}

function volumesPatch(
  { securityContext, volumes }: AdmittedPod['spec'],
  names: ReadonlyMap<string, string>,
): JsonPatch {
  const defaultMode = typeof securityContext?.fsGroup === 'number' ? GROUP_READABLE : READABLE;
  const wanted: readonly Volume[] = [...names].map(([resource, secretName]) => ({
    name: volumeName(resource),
    // Not optional: the kubelet waits for the Secret instead of starting the pod without it.
    secret: { secretName, defaultMode, optional: false },
  }));
  const own = new Set(wanted.map(({ name }) => name));
  return replaceItems('/spec/volumes', volumes, ({ name }) => own.has(name), wanted);
}

function removeEntry(path: string, map: Readonly<Record<string, string>> | null | undefined, key: string): JsonPatch {
  return map && Object.hasOwn(map, key) ? [{ op: 'remove', path: path + pointer(key) }] : [];
}
