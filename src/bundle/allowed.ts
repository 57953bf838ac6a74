/** Which fields of each kind of object go into a support archive. Everything that is not named here stays in the cluster. Pure. */
import type { KubernetesObject, ObjectMeta } from '../kubernetes/objects.ts';
import { isRecord } from '../text/is-record.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Name, age and identity; of labels and annotations the names alone, for their values are anybody's. */
function metadata({
  annotations,
  creationTimestamp,
  deletionTimestamp,
  generation,
  labels,
  name,
  namespace,
  uid,
}: ObjectMeta): Fields {
  return {
    name,
    namespace,
    uid,
    generation,
    creationTimestamp,
    deletionTimestamp,
    labels: Object.keys(labels ?? {}),
    annotations: Object.keys(annotations ?? {}),
  };
}

/** A copy with the named fields of an object from a stranger; `undefined` for what is no object. */
function pick(value: unknown, ...names: readonly string[]): Fields | undefined {
  if (!isRecord(value)) return undefined;
  return Object.fromEntries(names.filter((name) => Object.hasOwn(value, name)).map((name) => [name, value[name]]));
}

function list(value: unknown, read: (item: unknown) => unknown): readonly unknown[] {
  return Array.isArray(value) ? value.map(read) : [];
}

function field(value: unknown, ...path: readonly string[]): unknown {
  return path.reduce<unknown>((inner, name) => (isRecord(inner) ? inner[name] : undefined), value);
}

const conditions = (value: unknown) =>
  list(value, (one) => pick(one, 'type', 'status', 'reason', 'message', 'lastTransitionTime', 'observedGeneration'));

/** Without `secretTemplate`, whose values are anybody's. */
export function allowedResource(object: KubernetesObject): Fields {
  const [spec, status] = [field(object, 'spec'), field(object, 'status')];
  const selector = field(spec, 'podSelector');
  return {
    metadata: metadata(object.metadata),
    spec: {
      ...pick(spec, 'usage', 'keyAlgorithm', 'lifetimeSeconds', 'renewBeforeSeconds', 'suspend'),
      certificateRef: pick(field(spec, 'certificateRef'), 'name', 'namespace'),
      ...(selector !== undefined && { podSelector: pick(selector, 'matchLabels', 'matchExpressions') }),
    },
    status: {
      ...pick(status, 'observedGeneration', 'earliestExpiryTime', 'nextRenewalTime'),
      conditions: conditions(field(status, 'conditions')),
      certificate: pick(field(status, 'certificate'), 'subject', 'dnsNames', 'notAfter', 'keyAlgorithm'),
      pods: pick(field(status, 'pods'), 'selected', 'issued', 'failed'),
    },
  };
}

/** Of environment variables the names alone. */
export function allowedDeployment(object: KubernetesObject): Fields {
  const spec = field(object, 'spec');
  return {
    metadata: metadata(object.metadata),
    spec: {
      ...pick(spec, 'replicas'),
      serviceAccountName: field(spec, 'template', 'spec', 'serviceAccountName'),
      containers: list(field(spec, 'template', 'spec', 'containers'), (one) => ({
        ...pick(one, 'name', 'image', 'args', 'resources'),
        env: list(field(one, 'env'), (variable) => field(variable, 'name')),
      })),
    },
    status: {
      ...pick(field(object, 'status'), 'replicas', 'readyReplicas', 'availableReplicas', 'updatedReplicas'),
      conditions: conditions(field(object, 'status', 'conditions')),
    },
  };
}

export function allowedPod(object: KubernetesObject): Fields {
  const status = field(object, 'status');
  return {
    metadata: metadata(object.metadata),
    spec: pick(field(object, 'spec'), 'nodeName', 'priorityClassName'),
    status: {
      ...pick(status, 'phase', 'reason', 'message', 'startTime', 'qosClass'),
      conditions: conditions(field(status, 'conditions')),
      containers: list(field(status, 'containerStatuses'), (one) => ({
        ...pick(one, 'name', 'ready', 'restartCount'),
        state: states(field(one, 'state')),
        lastState: states(field(one, 'lastState')),
      })),
    },
  };
}

function states(value: unknown): Fields {
  const names = ['running', 'terminated', 'waiting'];
  const wanted = ['reason', 'message', 'exitCode', 'signal', 'startedAt', 'finishedAt'];
  return Object.fromEntries(
    names.flatMap((name) => (field(value, name) === undefined ? [] : [[name, pick(field(value, name), ...wanted)]])),
  );
}

/** Of the caBundle only whether there is one. */
export function allowedWebhookConfiguration(object: KubernetesObject): Fields {
  return {
    metadata: metadata(object.metadata),
    webhooks: list(field(object, 'webhooks'), (one) => ({
      ...pick(one, 'name', 'failurePolicy', 'timeoutSeconds', 'matchPolicy', 'reinvocationPolicy', 'sideEffects'),
      rules: list(field(one, 'rules'), (rule) =>
        pick(rule, 'operations', 'apiGroups', 'apiVersions', 'resources', 'scope'),
      ),
      namespaceSelector: pick(field(one, 'namespaceSelector'), 'matchLabels', 'matchExpressions'),
      objectSelector: pick(field(one, 'objectSelector'), 'matchLabels', 'matchExpressions'),
      service: pick(field(one, 'clientConfig', 'service'), 'namespace', 'name', 'path', 'port'),
      hasUrl: typeof field(one, 'clientConfig', 'url') === 'string',
      hasCaBundle: typeof field(one, 'clientConfig', 'caBundle') === 'string',
    })),
  };
}

/**
 * The fields of dcred's log lines, which are JSON: identifiers, times and counts. A test holds this complete: a field that is logged and not
 * here is missing when a fault is looked for. Other fields are another program's; a line that is no JSON is a crash, and kept as text.
 */
export const LOG_FIELDS = [
  'level',
  'time',
  'msg',
  'authorities',
  'certificate',
  'certificateSha256',
  'code',
  'count',
  'detail',
  'directories',
  'directory',
  'expiresAt',
  'failures',
  'file',
  'findings',
  'grant',
  'granted',
  'identity',
  'intervalSeconds',
  'key',
  'keyAlgorithm',
  'keys',
  'kind',
  'lease',
  'minutes',
  'name',
  'namespace',
  'notAfter',
  'path',
  'plural',
  'pod',
  'pods',
  'port',
  'problem',
  'queue',
  'reason',
  'request',
  'resource',
  'retry',
  'retryInMs',
  'seconds',
  'secret',
  'server',
  'servers',
  'service',
  'sha256',
  'shard',
  'signer',
  'skewMs',
  'status',
  'target',
  'targets',
  'usage',
  'version',
  'watch',
  'workers',
] as const;

export function allowedLogLine(line: string): unknown {
  try {
    const value: unknown = JSON.parse(line);
    if (!isRecord(value)) return line;
    // By class, code and message: as dcred logs an error.
    const err = pick(value['err'], 'class', 'code', 'message');
    return { ...plain(pick(value, ...LOG_FIELDS)), ...(err !== undefined && { err: plain(err) }) };
  } catch {
    return line;
  }
}

/** Text, numbers and lists of them, as dcred logs: any pod with the chart's label is read, and what others log may be nested without end. */
function plain(fields: Fields = {}): Fields {
  const isPlain = (value: unknown) => value === null || typeof value !== 'object';
  return Object.fromEntries(
    Object.entries(fields).flatMap(([name, value]) => {
      if (Array.isArray(value)) return [[name, value.filter(isPlain)]];
      return isPlain(value) ? [[name, value]] : [];
    }),
  );
}
