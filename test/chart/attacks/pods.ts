/** Attacks on pods and their subresources. */
import { type Attempts, apply, create, jsonPatch, merge, remove, STRATEGIC } from './attempt.ts';
import { NAMESPACE_OF_FIXTURES, NODE_OWNER, POD, pod, TENANT } from './fixtures.ts';

const NOT_SCHEDULED = /does not have a host assigned/;
export const POD_ATTACKS: Attempts = {
  'create a pod': create(`${TENANT}/pods`, pod('another')),
  'create a pod by server-side apply': apply(`${TENANT}/pods/another`, pod('another')),
  'delete a pod': remove(POD),
  'delete all pods of a namespace': remove(`${TENANT}/pods`),
  'change the image of a pod': jsonPatch(POD, {
    op: 'replace',
    path: '/spec/containers/0/image',
    value: 'registry.invalid/evil:1',
  }),
  'change the image of a pod with its own annotation': {
    ...merge(POD, {
      metadata: { annotations: { 'dcred.dev/renewed-at': 'now' } },
      spec: { containers: [{ name: 'main', image: 'registry.invalid/evil:1' }] },
    }),
    contentType: STRATEGIC,
  },
  'change the image of a pod by server-side apply': apply(POD, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web' },
    spec: { containers: [{ name: 'main', image: 'registry.invalid/evil:1' }] },
  }),
  'change the image of a pod and claim the field': {
    ...merge(POD, {
      metadata: { managedFields: [{}] },
      spec: { containers: [{ name: 'main', image: 'registry.invalid/evil:1' }] },
    }),
    contentType: STRATEGIC,
  },
  'change the node selector of a gated pod': merge(POD, { spec: { nodeSelector: { node: 'mine' } } }),
  'tolerate a taint': jsonPatch(POD, { op: 'add', path: '/spec/tolerations/-', value: { operator: 'Exists' } }),
  'set a deadline for a pod': merge(POD, { spec: { activeDeadlineSeconds: 1 } }),
  'remove the gate of another controller': {
    ...merge(POD, { spec: { schedulingGates: [{ $patch: 'delete', name: 'example.test/gate' }] } }),
    contentType: STRATEGIC,
  },
  'remove all gates': merge(POD, { spec: { schedulingGates: null } }),
  'change a label of a pod': merge(POD, { metadata: { labels: { app: 'other' } } }),
  'add a label to a pod': merge(POD, { metadata: { labels: { team: 'other' } } }),
  'remove the labels of a pod': merge(POD, { metadata: { labels: null } }),
  'change an annotation of a pod': merge(POD, { metadata: { annotations: { 'example.test/note': 'other' } } }),
  'add an annotation to a pod': merge(POD, { metadata: { annotations: { 'example.test/more': '' } } }),
  'remove an annotation of a pod': merge(POD, { metadata: { annotations: { 'example.test/note': null } } }),
  'point a pod at another Secret': merge(POD, { metadata: { annotations: { 'secret.dcred.dev/web': 'other' } } }),
  'add a gate annotation': merge(POD, { metadata: { annotations: { 'gate.dcred.dev/other': '' } } }),
  'remove all annotations of a pod': merge(POD, { metadata: { annotations: null } }),
  'add a finalizer to a pod': merge(POD, { metadata: { finalizers: ['example.test/never'] } }),
  'add an owner to a pod': merge(POD, { metadata: { ownerReferences: [NODE_OWNER] } }),
  'add an ephemeral container': {
    ...merge(`${POD}/ephemeralcontainers`, {
      spec: { ephemeralContainers: [{ name: 'debug', image: 'registry.invalid/evil:1' }] },
    }),
    contentType: STRATEGIC,
  },
  'write the status of a pod': merge(`${POD}/status`, { status: { message: 'other' } }),
  'resize a pod': {
    ...merge(`${POD}/resize`, { spec: { containers: [{ name: 'main', resources: { limits: { cpu: '1' } } }] } }),
    contentType: STRATEGIC,
    refusedAnyway: /./,
  },
  'bind a pod to a node': {
    ...create(`${POD}/binding`, {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name: 'web' },
      target: { kind: 'Node', name: 'mine' },
    }),
    refusedAnyway: /schedulingGates/,
  },
  'evict a pod': create(`${POD}/eviction`, {
    apiVersion: 'policy/v1',
    kind: 'Eviction',
    metadata: { name: 'web', namespace: NAMESPACE_OF_FIXTURES },
  }),
  'run a command in a pod': {
    method: 'POST',
    path: `${POD}/exec?command=id&stdout=true`,
    connects: true,
    refusedAnyway: NOT_SCHEDULED,
  },
  'attach to a pod': {
    method: 'POST',
    path: `${POD}/attach?stdout=true`,
    connects: true,
    refusedAnyway: NOT_SCHEDULED,
  },
  'forward a port of a pod': {
    method: 'POST',
    path: `${POD}/portforward?ports=80`,
    connects: true,
    refusedAnyway: NOT_SCHEDULED,
  },
  'reach a pod through the API server': {
    method: 'GET',
    path: `${POD}/proxy/`,
    connects: true,
    refusedAnyway: /./,
  },
};
