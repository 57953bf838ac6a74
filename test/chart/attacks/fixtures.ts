/** What a cluster has besides dcred: the objects that the attempts are about. */
import { NAMESPACE } from '../chart.ts';

/** Another tenant's namespace. */
export const NAMESPACE_OF_FIXTURES = 'tenant';

export const TENANT = `/api/v1/namespaces/${NAMESPACE_OF_FIXTURES}`;
export const SECRETS = `${TENANT}/secrets`;
export const POD = `${TENANT}/pods/web`;
export const SYSTEM = `/api/v1/namespaces/${NAMESPACE}`;
export const RESOURCE = `/apis/dcred.dev/v1alpha1/namespaces/${NAMESPACE_OF_FIXTURES}/delegatedcredentials/web`;
export const CONFIGURATIONS = '/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations';
export const OWN_CONFIGURATION = `${CONFIGURATIONS}/dcred.${NAMESPACE}`;
export const LEASES = '/apis/coordination.k8s.io/v1/namespaces';
export const EVENTS = `/apis/events.k8s.io/v1/namespaces/${NAMESPACE_OF_FIXTURES}/events`;

export const TYPE = 'dcred.dev/delegated-credential';
export const LABELS = { 'app.kubernetes.io/managed-by': 'dcred', 'dcred.dev/delegated-credential': 'web' };
export const POD_OWNER = { apiVersion: 'v1', kind: 'Pod', name: 'web', uid: '00000000-0000-4000-8000-000000000001' };
export const NODE_OWNER = { apiVersion: 'v1', kind: 'Node', name: 'node', uid: '00000000-0000-4000-8000-000000000002' };
const DATA = { 'dc.key': Buffer.from('test').toString('base64') };

export function secret(name: string, changes: { readonly metadata?: object; readonly [field: string]: unknown } = {}) {
  const { metadata, ...rest } = changes;
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    type: TYPE,
    data: DATA,
    ...rest,
    metadata: {
      name,
      namespace: NAMESPACE_OF_FIXTURES,
      labels: LABELS,
      ownerReferences: [POD_OWNER],
      ...metadata,
    },
  };
}

export function pod(name: string) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: NAMESPACE_OF_FIXTURES,
      labels: { app: 'web', 'dcred.dev/inject': 'web' },
      annotations: { 'gate.dcred.dev/web': '', 'secret.dcred.dev/web': 'issued', 'example.test/note': 'kept' },
    },
    spec: {
      automountServiceAccountToken: false,
      schedulingGates: [{ name: 'gate.dcred.dev/web' }, { name: 'example.test/gate' }],
      containers: [{ name: 'main', image: 'registry.invalid/web:1' }],
    },
  };
}

export const RULES = [{ operations: ['CREATE'], apiGroups: [''], apiVersions: ['v1'], resources: ['pods'] }];

export function configuration(name: string) {
  return {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name },
    webhooks: [
      {
        name: 'other.example.test',
        clientConfig: { url: 'https://127.0.0.1:1/' },
        rules: RULES,
        // It must not be called by the tests.
        objectSelector: { matchLabels: { 'example.test/never': 'set' } },
        failurePolicy: 'Ignore',
        sideEffects: 'None',
        admissionReviewVersions: ['v1'],
      },
    ],
  };
}

/** What a cluster has besides dcred. */
export const FIXTURES: readonly object[] = [
  {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'privileged', namespace: NAMESPACE_OF_FIXTURES },
  },
  pod('web'),
  secret('web-tls', { type: 'Opaque', metadata: { labels: {}, ownerReferences: [] } }),
  secret('issued'),
  secret('same-type', { metadata: { labels: {} } }),
  secret('same-labels', { type: 'Opaque' }),
  secret('unowned', { metadata: { ownerReferences: [] } }),
  secret('restored', { metadata: { ownerReferences: [], annotations: { 'dcred.dev/pod-uid': 'gone' } } }),
  secret('restored-other-type', {
    type: 'Opaque',
    metadata: { ownerReferences: [], annotations: { 'dcred.dev/pod-uid': 'gone' } },
  }),
  secret('restored-other-owner', {
    metadata: { ownerReferences: [NODE_OWNER], annotations: { 'dcred.dev/pod-uid': 'gone' } },
  }),
  {
    apiVersion: 'dcred.dev/v1alpha1',
    kind: 'DelegatedCredential',
    metadata: { name: 'web', namespace: NAMESPACE_OF_FIXTURES },
    spec: { certificateRef: { name: 'web-tls' } },
  },
  {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name: 'other', namespace: NAMESPACE },
    spec: { holderIdentity: 'other' },
  },
  configuration('other'),
];

export function event(changes: object) {
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { name: 'web.1', namespace: NAMESPACE_OF_FIXTURES },
    eventTime: '2026-01-01T00:00:00.000000Z',
    regarding: { apiVersion: 'v1', kind: 'Pod', namespace: NAMESPACE_OF_FIXTURES, name: 'web' },
    type: 'Normal',
    reason: 'Issued',
    action: 'Issue',
    note: 'a test',
    reportingController: 'dcred.dev/operator',
    reportingInstance: 'test',
    ...changes,
  };
}

export function lease(namespace: string, name: string) {
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { name, namespace },
    spec: { holderIdentity: 'test' },
  };
}
