/** What the webhook's account is denied, and what it needs. */
import { NAMESPACE } from '../chart.ts';
import { type Attempt, type Attempts, apply, create, merge, remove, STRATEGIC } from './attempt.ts';
import {
  CONFIGURATIONS,
  configuration,
  EVENTS,
  event,
  LEASES,
  lease,
  NAMESPACE_OF_FIXTURES,
  NODE_OWNER,
  OWN_CONFIGURATION,
  POD,
  POD_OWNER,
  RESOURCE,
  RULES,
  SECRETS,
  SYSTEM,
  secret,
} from './fixtures.ts';
import { OTHER_ATTACKS, tokenOf } from './others.ts';
import { POD_ATTACKS } from './pods.ts';
import { SECRET_ATTACKS } from './secrets.ts';

function servingCertificate(changes: { readonly metadata?: object; readonly [field: string]: unknown } = {}): Attempt {
  const { metadata, ...rest } = changes;
  const body = {
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'dcred.dev/webhook-certificate',
    data: { 'ca.crt': 'eA==', 'tls.crt': 'eA==', 'tls.key': 'eA==' },
    ...rest,
    metadata: { name: 'dcred-webhook-cert', namespace: NAMESPACE, ...metadata },
  };
  return { method: 'PUT', path: `${SYSTEM}/secrets/dcred-webhook-cert`, body };
}

/** A change of one webhook of the configuration, merged by the webhook's name. */
function ownWebhook(change: object): Attempt {
  const body = { webhooks: [{ name: 'inject.dcred.dev', ...change }] };
  return { method: 'PATCH', path: OWN_CONFIGURATION, body, contentType: STRATEGIC };
}

const { rules, webhooks } = { rules: RULES, webhooks: configuration('another').webhooks };

export const DENIED_TO_WEBHOOK: Attempts = {
  ...SECRET_ATTACKS,
  ...POD_ATTACKS,
  ...OTHER_ATTACKS,
  'issue a Secret': create(SECRETS, secret('new')),
  'delete an issued Secret': remove(`${SECRETS}/issued`),
  'nudge the kubelet of a pod': merge(POD, { metadata: { annotations: { 'dcred.dev/renewed-at': 'now' } } }),
  'create a Secret of its own type': create(`${SYSTEM}/secrets`, {
    ...secret('another', { type: 'dcred.dev/webhook-certificate' }),
    metadata: { name: 'another', namespace: NAMESPACE },
  }),
  'delete the Secret of its serving certificate': remove(`${SYSTEM}/secrets/dcred-webhook-cert`),
  'add a finalizer to its Secret': servingCertificate({ metadata: { finalizers: ['example.test/never'] } }),
  'add an owner to its Secret': servingCertificate({ metadata: { ownerReferences: [NODE_OWNER] } }),
  'add a pod as the owner of its Secret': servingCertificate({ metadata: { ownerReferences: [POD_OWNER] } }),
  'put another key into its Secret': servingCertificate({ stringData: { 'config.json': '{}' } }),
  "request a token of the operator's account": tokenOf(NAMESPACE, 'dcred'),
  'send admission requests to another server': ownWebhook({
    clientConfig: { service: { name: 'evil', namespace: NAMESPACE_OF_FIXTURES, path: '/inject', port: 443 } },
  }),
  'send admission requests to another path': ownWebhook({
    clientConfig: { service: { name: 'dcred-webhook', namespace: NAMESPACE, path: '/other', port: 443 } },
  }),
  'send admission requests out of the cluster': ownWebhook({
    clientConfig: { service: null, url: 'https://evil.invalid/' },
  }),
  'intercept every Secret': ownWebhook({ rules: [{ ...rules[0], operations: ['*'], resources: ['secrets'] }] }),
  'intercept pods without the label': ownWebhook({ objectSelector: { matchExpressions: null } }),
  'intercept the namespaces left out': ownWebhook({ namespaceSelector: { matchExpressions: null } }),
  'refuse every pod when it does not answer': ownWebhook({ failurePolicy: 'Fail' }),
  'wait longer for an answer': ownWebhook({ timeoutSeconds: 30 }),
  'match on another condition': ownWebhook({ matchConditions: [{ name: 'all', expression: 'true' }] }),
  'add a second webhook': {
    method: 'PATCH',
    path: OWN_CONFIGURATION,
    body: { webhooks },
    contentType: STRATEGIC,
  },
  'remove its webhook': merge(OWN_CONFIGURATION, { webhooks: [] }),
  'replace its webhook by another': merge(OWN_CONFIGURATION, { webhooks }),
  'change the labels of its configuration': merge(OWN_CONFIGURATION, { metadata: { labels: { team: 'other' } } }),
  'add a finalizer to its configuration': merge(OWN_CONFIGURATION, {
    metadata: { finalizers: ['example.test/never'] },
  }),
  'delete its configuration': remove(OWN_CONFIGURATION),
  'set the bundle of another configuration': {
    ...merge(`${CONFIGURATIONS}/other`, {
      webhooks: [{ name: 'other.example.test', clientConfig: { caBundle: 'eA==' } }],
    }),
    contentType: STRATEGIC,
  },
  'write the status of a DelegatedCredential': merge(`${RESOURCE}/status`, { status: { observedGeneration: 1 } }),
  'record an Event': create(EVENTS, event({})),
  "take the operator's lease": create(`${LEASES}/${NAMESPACE}/leases`, lease(NAMESPACE, 'dcred-operator')),
};

export const ALLOWED_TO_WEBHOOK: Attempts = {
  'renew its serving certificate': servingCertificate(),
  'set its bundle': apply(OWN_CONFIGURATION, {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name: `dcred.${NAMESPACE}` },
    webhooks: [{ name: 'inject.dcred.dev', clientConfig: { caBundle: 'eA==' } }],
  }),
};
