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

import { posix } from 'node:path';
import { isResourceName, MAX_INJECTED_RESOURCES } from '../../api/injection.ts';
import {
  CONTAINERS_ANNOTATION,
  gatedResource,
  gateName,
  INJECT_KEY,
  mountPath,
  secretNameAnnotation,
  volumeName,
} from '../../api/keys.ts';
import { injectedResources } from '../../api/pod-selector.ts';
import { type AgentImage, injectAgent } from './inject-agent.ts';
import { type JsonPatch, pointer, replaceItems, setEntries } from './json-patch.ts';
import type { AdmittedPod, Container, SchedulingGate, Volume, VolumeMount } from './pod.ts';
import { freshSecretName, type RandomBytes } from './secret-name.ts';
import { quoted } from './warning.ts';

export interface Injection {
  /** Empty: the pod is not changed. */
  readonly patch: JsonPatch;
  /** For the person who creates the pod. */
  readonly warnings: readonly string[];
}

export interface InjectionOptions {
  /** The reload agent's image; undefined: pods that request the agent get a warning. */
  readonly agentImage?: AgentImage | undefined;
  /** Add a scheduling gate, which the operator removes once it has written the pod's Secrets. */
  readonly gatePods?: boolean;
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

export function inject(pod: AdmittedPod, random: RandomBytes, options: InjectionOptions = {}): Injection {
  const { metadata, spec } = pod;
  const annotations = metadata.annotations ?? {};
  const requested = injectedResources(metadata.labels ?? {}, annotations);
  if (requested.length === 0) return { patch: [], warnings: [] };
  if (Object.hasOwn(annotations, MIRROR_ANNOTATION)) {
    const warning = `dcred.dev: a static pod cannot use Secrets: remove the label ${INJECT_KEY}`;
    return { patch: [], warnings: [warning] };
  }
  const { resources, warnings } = checkNames(requested);
  if (resources.length === 0) return { patch: [], warnings };
  const names = new Map(resources.map((resource) => [resource, freshSecretName(resource, random)] as const));
  const mode = typeof spec.securityContext?.fsGroup === 'number' ? GROUP_READABLE : READABLE;
  const volumes = volumesPatch(spec.volumes, names, mode);
  const containers = containersPatch(spec, resources, narrowedTo(annotations));
  const agent = injectAgent(pod, resources, options.agentImage);
  const gates = options.gatePods === true ? gatesFor(spec, resources) : [];
  const written = Object.fromEntries([
    ...[...names].map(([resource, name]) => [secretNameAnnotation(resource), name]),
    ...gates.map(({ name }) => [name, GATE_CLOSED]),
  ]);
  return {
    patch: [
      ...setEntries('/metadata/annotations', metadata.annotations, written),
      ...replaceItems('/spec/schedulingGates', spec.schedulingGates, isOwnGate, gates),
      ...volumes.patch,
      ...containers.patch,
      // Last: it moves init containers, which the patches before it address by index.
      ...agent.patch,
    ],
    warnings: [...warnings, ...volumes.warnings, ...containers.warnings, ...agent.warnings],
  };
}

/** The valid names, and warnings about the others. An invalid name never keeps a pod from being created. */
function checkNames(requested: readonly string[]): { resources: readonly string[]; warnings: readonly string[] } {
  const valid = requested.filter(isResourceName);
  const warnings = requested
    .filter((name) => !isResourceName(name))
    .slice(0, MAX_INJECTED_RESOURCES)
    .map(
      (name) =>
        `dcred.dev: ${INJECT_KEY} names ${quoted(name)}, which is not a valid DelegatedCredential name (at most 40 lower-case ` +
        'letters, digits and "-"): correct it and re-create the pod',
    );
  const resources = valid.slice(0, MAX_INJECTED_RESOURCES);
  if (valid.length === resources.length) return { resources, warnings };
  const ignored = `dcred.dev: ${INJECT_KEY} names ${valid.length} resources and the first ${MAX_INJECTED_RESOURCES} are injected: name fewer`;
  return { resources, warnings: [...warnings, ignored] };
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
  volumes: AdmittedPod['spec']['volumes'],
  names: ReadonlyMap<string, string>,
  defaultMode: number,
): Injection {
  const wanted: readonly Volume[] = [...names].map(([resource, secretName]) => ({
    name: volumeName(resource),
    // Not optional: the kubelet waits for the Secret instead of starting the pod without it.
    secret: { secretName, defaultMode, optional: false },
  }));
  const own = new Set(wanted.map(({ name }) => name));
  const warnings = (volumes ?? [])
    .filter((volume) => own.has(volume.name) && volume['secret'] === undefined)
    .map(({ name }) => `dcred.dev: volume "${name}" was replaced, because injection uses that name: rename yours`);
  return { patch: replaceItems('/spec/volumes', volumes, ({ name }) => own.has(name), wanted), warnings };
}

/** Names in `dcred.dev/containers`; undefined: all containers. */
function narrowedTo(annotations: Readonly<Record<string, string>>): ReadonlySet<string> | undefined {
  const names = (annotations[CONTAINERS_ANNOTATION] ?? '').split(',').map((name) => name.trim());
  const given = names.filter((name) => name !== '');
  return given.length === 0 ? undefined : new Set(given);
}

function containersPatch(
  spec: AdmittedPod['spec'],
  resources: readonly string[],
  narrowed: ReadonlySet<string> | undefined,
): Injection {
  const parts: Injection[] = [];
  const found = new Set<string>();
  for (const list of ['initContainers', 'containers'] as const) {
    for (const [index, container] of (spec[list] ?? []).entries()) {
      found.add(container.name);
      const isChosen = narrowed === undefined || narrowed.has(container.name);
      parts.push(mountsPatch(pointer('spec', list, index, 'volumeMounts'), container, resources, isChosen));
    }
  }
  const unknown = [...(narrowed ?? [])].filter((name) => !found.has(name)).slice(0, 1);
  return {
    patch: parts.flatMap(({ patch }) => patch),
    warnings: [
      ...parts.flatMap(({ warnings }) => warnings),
      ...unknown.map(
        (name) =>
          `dcred.dev: ${CONTAINERS_ANNOTATION} names ${quoted(name)}, which is not a container of this pod: correct it`,
      ),
    ],
  };
}

function mountsPatch(
  path: string,
  { name, volumeDevices, volumeMounts }: Container,
  resources: readonly string[],
  isChosen: boolean,
): Injection {
  const volumes = new Set(resources.map(volumeName));
  const devices = new Set((volumeDevices ?? []).map(({ devicePath }) => normalized(devicePath)));
  const [free, blocked] = [
    resources.filter((resource) => !devices.has(mountPath(resource))),
    resources.filter((resource) => devices.has(mountPath(resource))),
  ];
  const paths = new Set(free.map(mountPath));
  const isOwn = (mount: VolumeMount) =>
    volumes.has(mount.name) && (paths.has(normalized(mount.mountPath)) || isPart(mount));
  const isOverlapping = (mount: VolumeMount) =>
    isChosen && !volumes.has(mount.name) && paths.has(normalized(mount.mountPath));
  const wanted = isChosen
    ? free.map((resource) => ({ name: volumeName(resource), mountPath: mountPath(resource), readOnly: true }))
    : [];
  const mounts = volumeMounts ?? [];
  return {
    patch: replaceItems<VolumeMount>(path, volumeMounts, (mount) => isOwn(mount) || isOverlapping(mount), wanted),
    warnings: [
      ...mounts
        .filter(isOverlapping)
        .map(
          (mount) =>
            `dcred.dev: container "${name}": the mount at ${normalized(mount.mountPath)} was replaced: mount yours elsewhere`,
        ),
      ...mounts
        .filter((mount) => volumes.has(mount.name) && isPart(mount))
        .map(
          (mount) =>
            `dcred.dev: container "${name}": a mount of "${mount.name}" with subPath was removed, because it is never refreshed: ` +
            'mount the whole volume',
        ),
      ...(isChosen ? blocked : []).map(
        (resource) =>
          `dcred.dev: container "${name}" has a block device at ${mountPath(resource)}, so the credential is not mounted: move the device`,
      ),
    ],
  };
}

function isPart({ subPath = '', subPathExpr = '' }: VolumeMount): boolean {
  return subPath !== '' || subPathExpr !== '';
}

/** Two spellings of one path are one mount point, though the API server accepts both. */
function normalized(path: string): string {
  const normal = posix.normalize(path);
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}
