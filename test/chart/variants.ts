import type { Values } from './chart.ts';

/** Ways to install the chart, each named for what is different. Every value of the chart is set in one of them at least. */
export const VARIANTS: Readonly<Record<string, Values>> = {
  'the defaults': {},
  'two namespaces only': { namespaces: ['edge', 'shop'] },
  'no cluster-wide object at all': { namespaces: ['edge'], rbac: { aggregate: false }, crds: { install: false } },
  'a single replica without a lease': { replicas: 1, leaderElection: { enabled: false } },
  'no metrics': { metrics: { port: 0 } },
  'a ServiceMonitor': {
    metrics: { port: 9090, serviceMonitor: { enabled: true, labels: { team: 'a' }, interval: '1m' } },
  },
  'a NetworkPolicy': { networkPolicy: { enabled: true } },
  'a narrow NetworkPolicy': {
    networkPolicy: {
      enabled: true,
      apiServerPorts: [6443],
      apiServerCidrs: ['10.0.0.1/32', 'fd00::1/128'],
      metricsFrom: [{ namespaceSelector: { matchLabels: { name: 'monitoring' } } }],
    },
  },
  'roles and an account of your own': { serviceAccount: { create: false, name: 'mine' }, rbac: { create: false } },
  'everything else': {
    image: { repository: 'example.test/team/dcred', digest: `sha256:${'ab'.repeat(32)}`, pullPolicy: 'Always' },
    imagePullSecrets: [{ name: 'pull' }],
    replicas: 3,
    workers: 4,
    logLevel: 'debug',
    resources: { limits: { memory: '1Gi', cpu: 1 }, requests: { memory: '1Gi', cpu: '500m' } },
    podDisruptionBudget: { enabled: false },
    serviceAccount: { name: 'named', annotations: { 'example.test/role': 'dcred' } },
    crds: { keep: false },
    terminationGracePeriodSeconds: 60,
    priorityClassName: 'system-cluster-critical',
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    tolerations: [{ key: 'dedicated', operator: 'Exists' }],
    affinity: { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [] } },
    topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'ScheduleAnyway' }],
    podSecurityContext: { fsGroup: 65532 },
    securityContext: { privileged: false },
    podAnnotations: { 'example.test/note': 'yes' },
    podLabels: { team: 'edge' },
    commonLabels: { 'example.test/owner': 'platform' },
    extraArgs: ['--context=other'],
    extraEnv: [{ name: 'HTTPS_PROXY', value: 'http://proxy.test:3128' }],
    nameOverride: 'credentials',
    fullnameOverride: `dcred-${'x'.repeat(60)}`,
  },
};
