/**
 * What injection changes in a pod that is being created. A pure function of the pod and of random bytes.
 *
 * Every call makes new names and puts them wherever an old one stands, in the annotation and in the volume alike. The API server
 * may call twice for one pod (reinvocationPolicy IfNeeded), and nothing in the second call proves that what the pod carries came
 * from the first: each call has a uid of its own, the pod has no uid yet and often no name, and a signature over the rest could
 * be copied along with it from any running pod. So no name that comes with a pod is believed, not even our own; of two calls, the
 * later one wins whole, and what results is the same but for the name.
 *
 * Ephemeral containers get no mount: they are added to a running pod, which is an update, and whoever debugs a pod should ask for
 * its key (by a mount of the volume) rather than find it. Windows pods are treated as all others: the kubelet maps the path to
 * the system drive, as it does for service account tokens.
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
  /** Empty: the pod stays as it is. */
  readonly patch: JsonPatch;
  /** What the person who creates the pod should know. */
  readonly warnings: readonly string[];
}

export interface InjectionOptions {
  /** What the reload agent is made from; undefined: pods that ask for it get a warning. */
  readonly agentImage?: AgentImage | undefined;
  /** Keep each pod from every node until the operator has written its Secrets. */
  readonly gatePods?: boolean;
}

/** The kubelet's mark on its picture of a static pod, which can use no Secrets: the API server would refuse it. */
const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';

/**
 * Readable by root and by the pod's group where it has one: the kubelet gives the files to the group `fsGroup`, of which every
 * container is a member. Without one they are root's alone, and a server that runs as another user, as PodSecurity `restricted`
 * demands, can read them only if everyone can. Setting fsGroup ourselves would change the owner of every other volume too.
 */
const GROUP_READABLE = 0o440;
const READABLE = 0o444;

export function inject(pod: AdmittedPod, random: RandomBytes, options: InjectionOptions = {}): Injection {
  const { metadata, spec } = pod;
  const annotations = metadata.annotations ?? {};
  const asked = injectedResources(metadata.labels ?? {}, annotations);
  if (asked.length === 0) return { patch: [], warnings: [] };
  if (Object.hasOwn(annotations, MIRROR_ANNOTATION)) {
    const warning = `dcred.dev: a static pod cannot use Secrets: remove the label ${INJECT_KEY}`;
    return { patch: [], warnings: [warning] };
  }
  const { resources, warnings } = checkNames(asked);
  if (resources.length === 0) return { patch: [], warnings };
  const names = new Map(resources.map((resource) => [resource, freshSecretName(resource, random)] as const));
  const mode = typeof spec.securityContext?.fsGroup === 'number' ? GROUP_READABLE : READABLE;
  const volumes = volumesPatch(spec.volumes, names, mode);
  const containers = containersPatch(spec, resources, narrowedTo(annotations));
  const agent = injectAgent(pod, resources, options.agentImage);
  const gates = options.gatePods === true ? gatesFor(spec, resources) : [];
  const written = Object.fromEntries([
    ...[...names].map(([resource, name]) => [secretNameAnnotation(resource), name]),
    ...gates.map(({ name }) => [name, CLOSED]),
  ]);
  return {
    patch: [
      ...setEntries('/metadata/annotations', metadata.annotations, written),
      ...replaceItems('/spec/schedulingGates', spec.schedulingGates, isOwnGate, gates),
      ...volumes.patch,
      ...containers.patch,
      // Last: it moves init containers, which the patches before it name by their position.
      ...agent.patch,
    ],
    warnings: [...warnings, ...volumes.warnings, ...containers.warnings, ...agent.warnings],
  };
}

/** The names that can be served, and what is to be said of the others. They never keep a pod from being created. */
function checkNames(asked: readonly string[]): { resources: readonly string[]; warnings: readonly string[] } {
  const valid = asked.filter(isResourceName);
  const warnings = asked
    .filter((name) => !isResourceName(name))
    .slice(0, MAX_INJECTED_RESOURCES)
    .map(
      (name) =>
        `dcred.dev: ${INJECT_KEY} names ${quoted(name)}, which is no name of a DelegatedCredential (at most 40 lower-case ` +
        'letters, digits and "-"): correct it and re-create the pod',
    );
  const resources = valid.slice(0, MAX_INJECTED_RESOURCES);
  if (valid.length === resources.length) return { resources, warnings };
  const ignored = `dcred.dev: ${INJECT_KEY} names ${valid.length} resources and the first ${MAX_INJECTED_RESOURCES} are injected: name fewer`;
  return { resources, warnings: [...warnings, ignored] };
}

/** Of the annotation that stands for a gate: for whoever reads it in a pod that waits. */
const CLOSED = 'until the Secret is there';

/** The API server takes no gates for a pod whose node is chosen already: there the kubelet waits for the Secret. */
function gatesFor({ nodeName }: AdmittedPod['spec'], resources: readonly string[]): readonly SchedulingGate[] {
  if (nodeName) return [];
  return resources.map((resource) => ({ name: gateName(resource) }));
}

/** Also one that came along with a copied pod: for a resource that this pod does not ask for, nobody would ever lift it. */
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
    .map(({ name }) => `dcred.dev: volume "${name}" was replaced, for the name is dcred's: give yours another one`);
  return { patch: replaceItems('/spec/volumes', volumes, ({ name }) => own.has(name), wanted), warnings };
}

/** Undefined: all containers. */
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
          `dcred.dev: ${CONTAINERS_ANNOTATION} names ${quoted(name)}, which is no container of this pod: correct it`,
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
  const devices = new Set((volumeDevices ?? []).map(({ devicePath }) => plain(devicePath)));
  const [free, blocked] = [
    resources.filter((resource) => !devices.has(mountPath(resource))),
    resources.filter((resource) => devices.has(mountPath(resource))),
  ];
  const paths = new Set(free.map(mountPath));
  const isOurs = (mount: VolumeMount) =>
    volumes.has(mount.name) && (paths.has(plain(mount.mountPath)) || isPart(mount));
  const isInTheWay = (mount: VolumeMount) => isChosen && !volumes.has(mount.name) && paths.has(plain(mount.mountPath));
  const wanted = isChosen
    ? free.map((resource) => ({ name: volumeName(resource), mountPath: mountPath(resource), readOnly: true }))
    : [];
  const mounts = volumeMounts ?? [];
  return {
    patch: replaceItems<VolumeMount>(path, volumeMounts, (mount) => isOurs(mount) || isInTheWay(mount), wanted),
    warnings: [
      ...mounts
        .filter(isInTheWay)
        .map(
          (mount) =>
            `dcred.dev: container "${name}": the mount at ${plain(mount.mountPath)} was replaced: mount yours elsewhere`,
        ),
      ...mounts
        .filter((mount) => volumes.has(mount.name) && isPart(mount))
        .map(
          (mount) =>
            `dcred.dev: container "${name}": a mount of "${mount.name}" with subPath was removed, for it is never refreshed: ` +
            'mount the whole volume',
        ),
      ...(isChosen ? blocked : []).map(
        (resource) =>
          `dcred.dev: container "${name}" has a device at ${mountPath(resource)}: move it, and the credential is mounted there`,
      ),
    ],
  };
}

function isPart({ subPath = '', subPathExpr = '' }: VolumeMount): boolean {
  return subPath !== '' || subPathExpr !== '';
}

/** Two spellings of one path hide each other's mounts, though the API server takes them for two. */
function plain(path: string): string {
  const normal = posix.normalize(path);
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}
