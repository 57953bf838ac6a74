/** What the operator's account is denied, and what it needs. */
import { NAMESPACE } from '../chart.ts';
import { type Attempts, apply, create, merge, remove, STRATEGIC } from './attempt.ts';
import {
  EVENTS,
  event,
  LABELS,
  LEASES,
  lease,
  NAMESPACE_OF_FIXTURES,
  OWN_CONFIGURATION,
  POD,
  RESOURCE,
  SECRETS,
  SYSTEM,
  secret,
} from './fixtures.ts';
import { OTHER_ATTACKS } from './others.ts';
import { POD_ATTACKS } from './pods.ts';
import { SECRET_ATTACKS } from './secrets.ts';

export const DENIED_TO_OPERATOR: Attempts = {
  ...SECRET_ATTACKS,
  ...POD_ATTACKS,
  ...OTHER_ATTACKS,
  'change the spec of a DelegatedCredential': merge(RESOURCE, { spec: { lifetimeSeconds: 3600 } }),
  'delete a DelegatedCredential': remove(RESOURCE),
  "change dcred's webhook configuration": merge(OWN_CONFIGURATION, { metadata: { labels: { team: 'other' } } }),
  "delete dcred's webhook configuration": remove(OWN_CONFIGURATION),
  'write the serving certificate of the webhook': merge(`${SYSTEM}/secrets/dcred-webhook-cert`, {
    data: { 'tls.key': 'eA==' },
  }),
  'take the lease of another controller': merge(`${LEASES}/${NAMESPACE}/leases/other`, {
    spec: { holderIdentity: 'mine' },
  }),
  'create a lease of the same name elsewhere': create(
    `${LEASES}/${NAMESPACE_OF_FIXTURES}/leases`,
    lease(NAMESPACE_OF_FIXTURES, 'dcred-operator'),
  ),
  'create another lease': create(`${LEASES}/${NAMESPACE}/leases`, lease(NAMESPACE, 'another')),
  'record an Event in the name of the kubelet': create(EVENTS, event({ reportingController: 'kubelet' })),
};

export const ALLOWED_TO_OPERATOR: Attempts = {
  'issue a Secret': create(SECRETS, secret('new', { metadata: { labels: { ...LABELS, team: 'web' } } })),
  're-issue a Secret': { method: 'PUT', path: `${SECRETS}/issued`, body: secret('issued') },
  'restore the field ownership of a Secret': {
    method: 'PUT',
    path: `${SECRETS}/issued`,
    body: secret('issued', {
      metadata: {
        managedFields: [
          {
            manager: 'dcred',
            operation: 'Update',
            apiVersion: 'v1',
            time: '2026-01-01T00:00:00Z',
            fieldsType: 'FieldsV1',
            fieldsV1: { 'f:data': { 'f:dc.key': {} } },
          },
        ],
      },
    }),
  },
  'annotate a Secret': merge(`${SECRETS}/issued`, {
    metadata: { labels: { team: 'web' }, annotations: { 'dcred.dev/renew-at': '2026-01-01T00:00:00Z' } },
  }),
  'delete an issued Secret': remove(`${SECRETS}/issued`),
  'delete a Secret that was restored without its pod': remove(`${SECRETS}/restored`),
  'nudge the kubelet of a pod': merge(POD, {
    metadata: { annotations: { 'dcred.dev/renewed-at': '2026-01-01T00:00:00Z' } },
  }),
  'lift its gate of a pod': {
    ...merge(POD, {
      metadata: { annotations: { 'gate.dcred.dev/web': null } },
      spec: { schedulingGates: [{ $patch: 'delete', name: 'gate.dcred.dev/web' }] },
    }),
    contentType: STRATEGIC,
  },
  'write the status of a DelegatedCredential': apply(`${RESOURCE}/status`, {
    apiVersion: 'dcred.dev/v1alpha1',
    kind: 'DelegatedCredential',
    metadata: { name: 'web' },
    status: { observedGeneration: 1 },
  }),
  'record an Event': create(EVENTS, event({})),
  'create its lease': create(`${LEASES}/${NAMESPACE}/leases`, lease(NAMESPACE, 'dcred-operator')),
};
