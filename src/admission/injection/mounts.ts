/** The mounts of injected volumes in the containers of a pod. Pure. */
import { posix } from 'node:path';
import { CONTAINERS_ANNOTATION, mountPath, volumeName } from '../../api/keys.ts';
import { isAgent } from './agent-container.ts';
import { type JsonPatch, pointer, replaceItems } from './json-patch.ts';
import type { AdmittedPod, Container, Volume, VolumeMount } from './pod.ts';
import { quoted } from './warning.ts';

export interface MountsPatch {
  readonly patch: JsonPatch;
  readonly warnings: readonly string[];
}

/** Sources that are mounted read-only whatever the mount says: no mount point can be made inside them. */
const READ_ONLY_SOURCES = ['configMap', 'downwardAPI', 'image', 'projected', 'secret'];

/** Names in `dcred.dev/containers`; undefined: all containers. */
export function narrowedTo(annotations: Readonly<Record<string, string>>): ReadonlySet<string> | undefined {
  const names = (annotations[CONTAINERS_ANNOTATION] ?? '').split(',').map((name) => name.trim());
  const given = names.filter((name) => name !== '');
  return given.length === 0 ? undefined : new Set(given);
}

export function containersPatch(
  spec: AdmittedPod['spec'],
  resourceNames: readonly string[],
  narrowed: ReadonlySet<string> | undefined,
): MountsPatch {
  const parts: MountsPatch[] = [];
  const found = new Set<string>();
  const readOnly = readOnlyVolumes(spec.volumes ?? []);
  for (const list of ['initContainers', 'containers'] as const) {
    for (const [index, container] of (spec[list] ?? []).entries()) {
      found.add(container.name);
      if (isAgent(container)) continue;
      const isChosen = narrowed === undefined || narrowed.has(container.name);
      parts.push(
        mountsPatch(pointer('spec', list, index, 'volumeMounts'), container, resourceNames, isChosen, readOnly),
      );
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

/**
 * @param path of the container's volumeMounts
 * @param isChosen whether the container gets the mounts; they are removed otherwise
 * @param readOnly names of the volumes that are always mounted read-only
 */
export function mountsPatch(
  path: string,
  { name, volumeDevices, volumeMounts }: Container,
  resourceNames: readonly string[],
  isChosen: boolean,
  readOnly: ReadonlySet<string> = new Set(),
): MountsPatch {
  const volumes = new Set(resourceNames.map(volumeName));
  const mounts = volumeMounts ?? [];
  const kept = mounts.filter((mount) => !(volumes.has(mount.name) && isPart(mount)));
  const unwritable = new Set([...readOnly, ...volumes]);
  const devices = (volumeDevices ?? []).map(({ devicePath }) => normalized(devicePath));
  const blocked = isChosen
    ? resourceNames.flatMap((resourceName) => {
        const why = obstacle(mountPath(resourceName), kept, devices, unwritable);
        return why === undefined ? [] : [{ resourceName, why }];
      })
    : [];
  const free = resourceNames.filter((one) => !blocked.some(({ resourceName }) => resourceName === one));
  const paths = new Set(free.map(mountPath));
  const isOwn = (mount: VolumeMount) =>
    volumes.has(mount.name) && (paths.has(normalized(mount.mountPath)) || isPart(mount));
  const isOverlapping = (mount: VolumeMount) =>
    isChosen && !volumes.has(mount.name) && paths.has(normalized(mount.mountPath));
  const wanted = isChosen
    ? free.map((one) => ({ name: volumeName(one), mountPath: mountPath(one), readOnly: true }))
    : [];
  const shown = quoted(name);
  return {
    patch: replaceItems<VolumeMount>(path, volumeMounts, (mount) => isOwn(mount) || isOverlapping(mount), wanted),
    warnings: [
      ...mounts
        .filter(isOverlapping)
        .map(
          (mount) =>
            `dcred.dev: container ${shown}: the mount at ${normalized(mount.mountPath)} was replaced: mount yours elsewhere`,
        ),
      ...mounts
        .filter((mount) => volumes.has(mount.name) && isPart(mount))
        .map(
          (mount) =>
            `dcred.dev: container ${shown}: a mount of "${mount.name}" with subPath was removed, because it is never refreshed: ` +
            'mount the whole volume',
        ),
      ...blocked.map(({ why }) => `dcred.dev: container ${shown}: the credential is not mounted, because ${why}`),
    ],
  };
}

/** What keeps a container from starting, or a pod from being accepted, with a mount at this path. */
function obstacle(
  path: string,
  mounts: readonly VolumeMount[],
  devices: readonly string[],
  readOnly: ReadonlySet<string>,
): string | undefined {
  if (devices.includes(path)) return `a block device is at ${path}: move the device`;
  for (const mount of mounts) {
    const other = normalized(mount.mountPath);
    if (isBelow(other, path)) return `a mount is inside ${path}, which is read-only: move that mount`;
    if (isBelow(path, other) && (mount.readOnly === true || readOnly.has(mount.name)))
      return `${quoted(other)} is mounted read-only, and ${path} cannot be created in it: move that mount`;
  }
  return undefined;
}

function isBelow(path: string, parent: string): boolean {
  return path !== parent && path.startsWith(parent === '/' ? '/' : `${parent}/`);
}

function readOnlyVolumes(volumes: readonly Volume[]): ReadonlySet<string> {
  return new Set(volumes.filter(isReadOnly).map(({ name }) => name));
}

/** By its kind, or where its source says so: csi, persistentVolumeClaim, nfs and others have a field of one name for that. */
function isReadOnly(volume: Volume): boolean {
  return Object.entries(volume).some(
    ([source, settings]) =>
      READ_ONLY_SOURCES.includes(source) ||
      (typeof settings === 'object' && settings !== null && 'readOnly' in settings && settings.readOnly === true),
  );
}

function isPart({ subPath = '', subPathExpr = '' }: VolumeMount): boolean {
  return subPath !== '' || subPathExpr !== '';
}

/** Two spellings of one path are one mount point, though the API server accepts both. */
function normalized(path: string): string {
  const normal = posix.normalize(path);
  return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}
