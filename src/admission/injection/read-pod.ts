/**
 * Checks that what injection reads of a pod has the types of the API. Stops at the first fault and copies nothing: a schema library
 * collects every fault of a body that a stranger made, and copies the rest.
 */
import type { AdmittedPod } from './pod.ts';
import { ReviewError } from './review-error.ts';

type Scalar = 'string' | 'number' | 'boolean';
type Fields = Readonly<Record<string, unknown>>;

/** @throws {ReviewError} that names the first field of another type */
export function readAdmittedPod(object: unknown): AdmittedPod {
  const pod = fields(object, 'request.object');
  const metadata = fields(pod['metadata'], 'request.object.metadata');
  for (const name of ['labels', 'annotations']) entries(metadata[name], `metadata.${name}`);
  const spec = fields(pod['spec'], 'request.object.spec');
  each(spec, 'volumes', (volume, path) => string(volume['name'], `${path}.name`));
  for (const list of ['containers', 'initContainers']) each(spec, list, checkContainer);
  each(spec, 'schedulingGates', (gate, path) => string(gate['name'], `${path}.name`));
  each(spec, 'imagePullSecrets', (secret, path) => optional('string', secret['name'], `${path}.name`));
  const security = optionalFields(spec['securityContext'], 'spec.securityContext');
  for (const name of ['fsGroup', 'runAsUser']) optional('number', security[name], `spec.securityContext.${name}`);
  optionalFields(security['windowsOptions'], 'spec.securityContext.windowsOptions');
  entries(spec['nodeSelector'], 'spec.nodeSelector');
  checkAffinity(spec['affinity']);
  optional('string', optionalFields(spec['os'], 'spec.os')['name'], 'spec.os.name');
  checkResources(spec['resources'], 'spec.resources');
  optional('string', spec['nodeName'], 'spec.nodeName');
  for (const name of ['hostNetwork', 'hostPID', 'shareProcessNamespace'])
    optional('boolean', spec[name], `spec.${name}`);
  return object as AdmittedPod;
}

function checkContainer(container: Fields, path: string): void {
  string(container['name'], `${path}.name`);
  strings(container['args'], `${path}.args`);
  each(container, 'ports', (port, at) => required('number', port['containerPort'], `${at}.containerPort`), path);
  optional('string', container['restartPolicy'], `${path}.restartPolicy`);
  checkResources(container['resources'], `${path}.resources`);
  const security = optionalFields(container['securityContext'], `${path}.securityContext`);
  optional('number', security['runAsUser'], `${path}.securityContext.runAsUser`);
  optionalFields(security['windowsOptions'], `${path}.securityContext.windowsOptions`);
  each(container, 'volumeMounts', checkMount, path);
  each(container, 'volumeDevices', (device, at) => string(device['devicePath'], `${at}.devicePath`), path);
}

function checkAffinity(value: unknown): void {
  const ofNodes = optionalFields(optionalFields(value, 'spec.affinity')['nodeAffinity'], 'spec.affinity.nodeAffinity');
  const name = 'requiredDuringSchedulingIgnoredDuringExecution';
  const path = `spec.affinity.nodeAffinity.${name}`;
  const checkTerm = (term: Fields, at: string) => each(term, 'matchExpressions', checkExpression, at);
  each(optionalFields(ofNodes[name], path), 'nodeSelectorTerms', checkTerm, path);
}

function checkExpression(expression: Fields, path: string): void {
  for (const name of ['key', 'operator']) string(expression[name], `${path}.${name}`);
  strings(expression['values'], `${path}.values`);
}

function checkMount(mount: Fields, path: string): void {
  for (const name of ['name', 'mountPath']) string(mount[name], `${path}.${name}`);
  for (const name of ['subPath', 'subPathExpr']) optional('string', mount[name], `${path}.${name}`);
  optional('boolean', mount['readOnly'], `${path}.readOnly`);
}

function checkResources(value: unknown, path: string): void {
  const resources = optionalFields(value, path);
  for (const kind of ['requests', 'limits']) entries(resources[kind], `${path}.${kind}`);
}

function each(parent: Fields, name: string, check: (item: Fields, path: string) => void, path = 'spec'): void {
  const list = parent[name] ?? [];
  if (!Array.isArray(list)) throw unexpected(`${path}.${name}`, 'a list');
  for (const [index, item] of list.entries()) {
    const at = `${path}.${name}[${index}]`;
    check(fields(item, at), at);
  }
}

function fields(value: unknown, path: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw unexpected(path, 'an object');
  return value as Fields;
}

function optionalFields(value: unknown, path: string): Fields {
  return value === undefined || value === null ? {} : fields(value, path);
}

/** A map of strings, or nothing. */
function entries(value: unknown, path: string): void {
  for (const [, entry] of Object.entries(optionalFields(value, path))) {
    if (typeof entry !== 'string') throw unexpected(path, 'a map of strings');
  }
}

/** A list of strings, or nothing. */
function strings(value: unknown, path: string): void {
  const list = value ?? [];
  if (!Array.isArray(list) || list.some((item) => typeof item !== 'string')) throw unexpected(path, 'strings');
}

function string(value: unknown, path: string): void {
  required('string', value, path);
}

function required(type: Scalar, value: unknown, path: string): void {
  const found = typeof value;
  if (found !== type) throw unexpected(path, `a ${type}`);
}

function optional(type: Scalar, value: unknown, path: string): void {
  if (value !== undefined && value !== null) required(type, value, path);
}

function unexpected(path: string, expected: string): ReviewError {
  return new ReviewError(`${path}: expected ${expected}`);
}
