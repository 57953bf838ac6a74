/** A kind of object, and where the API server serves it. */

export interface ResourceType {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
}

export const PODS = {
  group: '',
  version: 'v1',
  plural: 'pods',
  kind: 'Pod',
  namespaced: true,
} as const satisfies ResourceType;

export const SECRETS = {
  group: '',
  version: 'v1',
  plural: 'secrets',
  kind: 'Secret',
  namespaced: true,
} as const satisfies ResourceType;

export const CONFIG_MAPS = {
  group: '',
  version: 'v1',
  plural: 'configmaps',
  kind: 'ConfigMap',
  namespaced: true,
} as const satisfies ResourceType;

export const NAMESPACES = {
  group: '',
  version: 'v1',
  plural: 'namespaces',
  kind: 'Namespace',
  namespaced: false,
} as const satisfies ResourceType;

export const LEASES = {
  group: 'coordination.k8s.io',
  version: 'v1',
  plural: 'leases',
  kind: 'Lease',
  namespaced: true,
} as const satisfies ResourceType;

export const EVENTS = {
  group: 'events.k8s.io',
  version: 'v1',
  plural: 'events',
  kind: 'Event',
  namespaced: true,
} as const satisfies ResourceType;

export const MUTATING_WEBHOOK_CONFIGURATIONS = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  plural: 'mutatingwebhookconfigurations',
  kind: 'MutatingWebhookConfiguration',
  namespaced: false,
} as const satisfies ResourceType;

export interface ResourcePathParts {
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  readonly subresource?: string | undefined;
}

/** `v1`, or `group/version`. */
export function apiVersionOf(type: ResourceType): string {
  return type.group === '' ? type.version : `${type.group}/${type.version}`;
}

/** Names that would change the path they are put into (apimachinery: IsValidPathSegmentName), or could never exist. */
function assertPathSegment(what: string, value: string): string {
  if (value === '' || value === '.' || value === '..' || /[/%]/.test(value) || value.length > 253) {
    throw new TypeError(
      `expected a ${what} of 1 to 253 characters without "/" or "%", other than "." and "..", found ${JSON.stringify(value.slice(0, 80))}`,
    );
  }
  return encodeURIComponent(value);
}

/**
 * The path of a collection (no name), an object, or its subresource. Without a namespace, a namespaced type's path is that of
 * all namespaces, which names no single object.
 * @throws TypeError for a name, namespace or subresource that cannot be one.
 */
export function resourcePath(type: ResourceType, { namespace, name, subresource }: ResourcePathParts): string {
  if (namespace !== undefined && !type.namespaced) {
    throw new TypeError(
      `expected no namespace for ${type.plural}, which are cluster-wide, found ${JSON.stringify(namespace)}`,
    );
  }
  if (name !== undefined && type.namespaced && namespace === undefined) {
    throw new TypeError(`expected a namespace beside the name ${JSON.stringify(name)} of ${type.plural}`);
  }
  if (subresource !== undefined && name === undefined) {
    throw new TypeError(`expected a name beside the subresource ${JSON.stringify(subresource)} of ${type.plural}`);
  }
  let path = type.group === '' ? `/api/${type.version}` : `/apis/${type.group}/${type.version}`;
  if (namespace !== undefined) path += `/namespaces/${assertPathSegment('namespace', namespace)}`;
  path += `/${type.plural}`;
  if (name !== undefined) path += `/${assertPathSegment('name', name)}`;
  if (subresource !== undefined) path += `/${assertPathSegment('subresource', subresource)}`;
  return path;
}
