/** What the audit's account is denied, and what it needs. */
import { NAMESPACE } from '../chart.ts';
import { type Attempts, apply, create, merge, remove } from './attempt.ts';
import { EVENTS, event, LEASES, lease, POD, RESOURCE, SECRETS, secret } from './fixtures.ts';
import { OTHER_ATTACKS, tokenOf } from './others.ts';
import { POD_ATTACKS } from './pods.ts';
import { SECRET_ATTACKS } from './secrets.ts';

function condition(type: string) {
  return { type, status: 'True', reason: 'Current', message: 'fine', lastTransitionTime: '2027-01-15T08:00:00Z' };
}

export const DENIED_TO_AUDIT: Attempts = {
  ...SECRET_ATTACKS,
  ...POD_ATTACKS,
  ...OTHER_ATTACKS,
  'issue a Secret': create(SECRETS, secret('new')),
  'delete an issued Secret': remove(`${SECRETS}/issued`),
  'nudge the kubelet of a pod': merge(POD, { metadata: { annotations: { 'dcred.dev/renewed-at': 'now' } } }),
  'report that a resource is Ready': merge(`${RESOURCE}/status`, { status: { conditions: [condition('Ready')] } }),
  'report Ready beside Serving': merge(`${RESOURCE}/status`, {
    status: { conditions: [condition('Serving'), condition('Ready')] },
  }),
  'write another field of the status': merge(`${RESOURCE}/status`, { status: { observedGeneration: 1 } }),
  'record an Event in the name of the operator': create(EVENTS, event({})),
  "take the operator's lease": create(`${LEASES}/${NAMESPACE}/leases`, lease(NAMESPACE, 'dcred-operator')),
  "request a token of the operator's account": tokenOf(NAMESPACE, 'dcred'),
};

export const ALLOWED_TO_AUDIT: Attempts = {
  'report what is served': apply(`${RESOURCE}/status`, {
    apiVersion: 'dcred.dev/v1alpha1',
    kind: 'DelegatedCredential',
    status: { conditions: [condition('Serving')] },
  }),
  'record its own Event': create(EVENTS, event({ reportingController: 'dcred.dev/audit' })),
};
