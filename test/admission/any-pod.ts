/** Pods of many shapes: what a user, a chart or another webhook may have written, valid or not. The API server says which. */
import fc from 'fast-check';

type Fields = Readonly<Record<string, unknown>>;

/** One in `n`, so that most pods have few peculiarities at a time. */
const seldom = <T>(arbitrary: fc.Arbitrary<T>, n = 5): fc.Arbitrary<T | undefined> =>
  fc.oneof({ weight: n - 1, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });

const RESERVED = ['dcred-web', 'dcred-api', 'dcred-agent', 'status-of-dcred-agent'];
const volumeName = fc.constantFrom('tmp', 'data', 'disk', ...RESERVED);
const source = fc.constantFrom<Fields>(
  { emptyDir: {} },
  { emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
  { configMap: { name: 'settings' } },
  { secret: { secretName: 'own' } },
  { projected: { sources: [{ configMap: { name: 'settings' } }] } },
  { persistentVolumeClaim: { claimName: 'disk' } },
  { hostPath: { path: '/var/run' } },
);
const path = fc.constantFrom(
  '/tmp',
  '/data',
  '/var/run',
  '/var/run/secrets',
  '/var/run/secrets/dcred.dev',
  '/var/run/secrets/dcred.dev/web',
  '/var/run/secrets/dcred.dev/web/',
  '/var/run/secrets/dcred.dev/web/inside',
  '/var/run/secrets/dcred.dev/api',
  '/run/dcred-agent',
);
const mount = fc.record(
  {
    name: volumeName,
    mountPath: path,
    readOnly: fc.boolean(),
    subPath: fc.constantFrom('part', 'a/b'),
  },
  { requiredKeys: ['name', 'mountPath'] },
);

const quantities = fc.record(
  {
    cpu: fc.constantFrom('20m', '100m', '1'),
    memory: fc.constantFrom('32Mi', '128Mi', '1Gi'),
    'ephemeral-storage': fc.constantFrom('64Mi', '1Gi'),
  },
  { requiredKeys: [] },
);
const resources = fc.oneof(
  fc.record({ limits: quantities }),
  fc.record({ requests: quantities }),
  fc.constant({ limits: { cpu: '200m', memory: '256Mi' }, requests: { cpu: '200m', memory: '256Mi' } }),
);
const RESTRICTED = {
  allowPrivilegeEscalation: false,
  capabilities: { drop: ['ALL'] },
  runAsNonRoot: true,
  seccompProfile: { type: 'RuntimeDefault' },
};
const securityContext = fc.oneof(
  fc.constant<Fields>(RESTRICTED),
  fc.constant<Fields>({ ...RESTRICTED, runAsUser: 101, readOnlyRootFilesystem: true }),
  fc.constantFrom<Fields>({ runAsUser: 0 }, { runAsUser: 1337 }, { privileged: true }, { runAsNonRoot: true }),
);

const container = (name: fc.Arbitrary<string>) =>
  fc.record({
    name,
    image: fc.constant('localhost/none'),
    ports: seldom(fc.constantFrom([{ containerPort: 8080 }], [{ containerPort: 9345, name: 'dcred-agent' }])),
    resources: seldom(resources, 2),
    securityContext: fc.option(securityContext, { nil: undefined }),
    volumeMounts: seldom(fc.array(mount, { maxLength: 3 }), 2),
    volumeDevices: seldom(
      fc.constantFrom(
        [{ name: 'disk', devicePath: '/dev/disk' }],
        [{ name: 'disk', devicePath: '/var/run/secrets/dcred.dev/web' }],
        [{ name: 'dcred-web', devicePath: '/dev/disk' }],
      ),
      8,
    ),
  });
const initContainer = fc
  .tuple(container(fc.constantFrom('setup', 'side', 'dcred-agent')), seldom(fc.constant('Always'), 2))
  .map(([one, restartPolicy]) => ({ ...one, restartPolicy }));

const unique = <T extends { readonly name: string }>(items: readonly T[]): readonly T[] => [
  ...new Map(items.map((item) => [item.name, item])).values(),
];

const spec = fc.record({
  automountServiceAccountToken: fc.constant(false),
  containers: fc
    .array(container(fc.constantFrom('nginx', 'proxy', 'a'.repeat(63), 'dcred-agent')), { minLength: 1, maxLength: 3 })
    .map(unique),
  initContainers: seldom(fc.array(initContainer, { maxLength: 2 }).map(unique), 3),
  volumes: fc
    .array(
      fc.tuple(volumeName, source).map(([name, from]) => ({ name, ...from })),
      { maxLength: 5 },
    )
    .map(unique),
  securityContext: seldom(
    fc.constantFrom<Fields>(
      { runAsUser: 0 },
      { runAsUser: 101, runAsNonRoot: true, fsGroup: 2000 },
      { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      { supplementalGroups: [1], fsGroupChangePolicy: 'OnRootMismatch' },
    ),
    2,
  ),
  resources: seldom(fc.constantFrom<Fields>({ requests: { cpu: '2' } }, { limits: { memory: '4Gi', cpu: '4' } })),
  hostNetwork: seldom(fc.boolean()),
  hostPID: seldom(fc.boolean()),
  hostIPC: seldom(fc.constant(true)),
  hostUsers: seldom(fc.boolean()),
  shareProcessNamespace: seldom(fc.boolean(), 3),
  os: seldom(fc.constantFrom({ name: 'linux' }, { name: 'windows' }), 8),
  nodeSelector: seldom(fc.constantFrom<Fields>({ 'kubernetes.io/os': 'windows' }, { disk: 'ssd' })),
  nodeName: seldom(fc.constant('node-1')),
  schedulingGates: seldom(fc.constantFrom([{ name: 'example.com/wait' }], [{ name: 'gate.dcred.dev/old' }])),
  imagePullSecrets: seldom(fc.constant([{ name: 'own' }])),
  restartPolicy: seldom(fc.constantFrom('Never', 'OnFailure')),
  priority: seldom(fc.constant(0)),
  enableServiceLinks: seldom(fc.boolean()),
  runtimeClassName: seldom(fc.constant('nosuch'), 12),
  resourceClaims: seldom(fc.constant([{ name: 'gpu', resourceClaimName: 'gpu' }]), 8),
  hostname: seldom(fc.constant('h'.repeat(63))),
  terminationGracePeriodSeconds: seldom(fc.constantFrom(0, 30)),
});

const SIXTEEN = Array.from({ length: 16 }, (_, index) => `r${index}`).join(',');

const annotations = fc.record({
  'dcred.dev/inject': seldom(fc.constantFrom('api', 'web,api', SIXTEEN, 'No.Name,web')),
  'dcred.dev/containers': seldom(fc.constantFrom('nginx', 'nosuch', 'nginx,setup,dcred-agent')),
  'dcred.dev/reload': fc.option(
    fc.constantFrom('signal:HUP:nginx', 'http:POST:http://127.0.0.1:8080/reload?token=x', 'exec:/bin/true', 'nonsense'),
    { nil: undefined },
  ),
  'dcred.dev/agent-resources': seldom(fc.constantFrom('', 'limits.cpu=50m,limits.memory=64Mi', 'nonsense')),
  'secret.dcred.dev/web': seldom(fc.constant('forged')),
  note: seldom(fc.constantFrom('x'.repeat(261_900), 'x'.repeat(262_100))),
});

export interface AnyPod {
  /** Values of undefined are absent in JSON. */
  readonly annotations: Fields;
  readonly spec: Spec;
}

interface Part extends Fields {
  readonly name: string;
  readonly resources?: unknown;
  readonly securityContext?: unknown;
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[] | undefined;
  readonly volumeDevices?: readonly { readonly name: string }[] | undefined;
}

interface Spec extends Fields {
  readonly containers: readonly Part[];
  readonly initContainers?: readonly Part[] | undefined;
  readonly volumes?: readonly Fields[];
}

/** Every container of the pod, changed. */
export function withContainers({ annotations: given, spec: before }: AnyPod, change: (part: Part) => Part): AnyPod {
  const { containers, initContainers } = before;
  return {
    annotations: given,
    spec: { ...before, containers: containers.map(change), initContainers: initContainers?.map(change) },
  };
}

/** Removes trivial reasons for a pod to be invalid, so that enough of them are valid. */
function repaired({ annotations: given, spec: before }: { annotations: Fields; spec: Spec }): AnyPod {
  const names = new Set(before.containers.map(({ name }) => name));
  const initContainers = before.initContainers?.filter(({ name }) => !names.has(name));
  const parts = [...before.containers, ...(initContainers ?? [])];
  const devices = new Set(parts.flatMap(({ volumeDevices = [] }) => volumeDevices.map(({ name }) => name)));
  const mounted = new Set(parts.flatMap(({ volumeMounts = [] }) => volumeMounts.map(({ name }) => name)));
  const volumes = (before.volumes ?? []).filter(({ name }) => !devices.has(String(name)));
  const present = new Set(volumes.map(({ name }) => name));
  const missing = [...mounted].filter((name) => !present.has(name) && !devices.has(name));
  const pod: AnyPod = {
    annotations: given,
    spec: {
      ...before,
      initContainers,
      volumes: [
        ...volumes,
        ...missing.map((name) => ({ name, emptyDir: {} })),
        ...[...devices].map((name) => ({ name, persistentVolumeClaim: { claimName: 'disk' } })),
      ],
    },
  };
  return withContainers(pod, (part) => ({
    ...part,
    volumeMounts: part.volumeMounts
      ?.filter(({ name }) => !devices.has(name))
      .filter((one, index, all) => all.findIndex(({ mountPath }) => mountPath === one.mountPath) === index),
  }));
}

export const anyPod: fc.Arbitrary<AnyPod> = fc.record({ annotations, spec }).map((pod) => repaired(pod as AnyPod));
