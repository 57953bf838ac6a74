/** Attacks on Secrets. */
import { type Attempts, apply, create, merge, remove } from './attempt.ts';
import { LABELS, NODE_OWNER, POD_OWNER, SECRETS, secret, TYPE } from './fixtures.ts';

const TOKEN_ANNOTATION = { 'kubernetes.io/service-account.name': 'privileged' };

export const SECRET_ATTACKS: Attempts = {
  'create a token Secret for another account': create(
    SECRETS,
    secret('stolen', {
      type: 'kubernetes.io/service-account-token',
      data: {},
      metadata: { annotations: TOKEN_ANNOTATION, labels: {}, ownerReferences: [] },
    }),
  ),
  'create a token Secret with the labels and the owner of an issued one': create(
    SECRETS,
    secret('stolen', {
      type: 'kubernetes.io/service-account-token',
      data: {},
      metadata: { annotations: TOKEN_ANNOTATION },
    }),
  ),
  'create a token Secret by server-side apply': apply(
    `${SECRETS}/stolen`,
    secret('stolen', {
      type: 'kubernetes.io/service-account-token',
      data: {},
      metadata: { annotations: TOKEN_ANNOTATION },
    }),
  ),
  'create an Opaque Secret': create(SECRETS, secret('opaque', { type: 'Opaque' })),
  'create a Secret without a type': create(SECRETS, secret('untyped', { type: undefined })),
  'create a bootstrap token': create(
    '/api/v1/namespaces/kube-system/secrets',
    secret('bootstrap-token-abcdef', {
      type: 'bootstrap.kubernetes.io/token',
      data: {},
      stringData: {
        'token-id': 'abcdef',
        'token-secret': '0123456789abcdef',
        'usage-bootstrap-authentication': 'true',
      },
      metadata: { namespace: 'kube-system' },
    }),
  ),
  'create a Secret without labels': create(SECRETS, secret('bare', { metadata: { labels: {} } })),
  'create a Secret that another tool manages': create(
    SECRETS,
    secret('other', { metadata: { labels: { ...LABELS, 'app.kubernetes.io/managed-by': 'Helm' } } }),
  ),
  'create a Secret of no resource': create(
    SECRETS,
    secret('none', { metadata: { labels: { 'app.kubernetes.io/managed-by': 'dcred' } } }),
  ),
  'create a Secret without an owner': create(SECRETS, secret('free', { metadata: { ownerReferences: [] } })),
  'create a Secret that a node owns': create(SECRETS, secret('node', { metadata: { ownerReferences: [NODE_OWNER] } })),
  'create a Secret that a pod and a node own': create(
    SECRETS,
    secret('two', { metadata: { ownerReferences: [POD_OWNER, NODE_OWNER] } }),
  ),
  'create a Secret that a pod of another API owns': create(
    SECRETS,
    secret('fake-pod', { metadata: { ownerReferences: [{ ...POD_OWNER, apiVersion: 'example.test/v1' }] } }),
  ),
  'create a Secret that cannot be deleted': create(
    SECRETS,
    secret('eternal', { metadata: { finalizers: ['example.test/never'] } }),
  ),
  'put another key into a new Secret': create(SECRETS, secret('extra', { stringData: { 'config.json': '{}' } })),
  'change a certificate Secret': merge(`${SECRETS}/web-tls`, { data: { 'tls.crt': 'eA==' } }),
  'replace a certificate Secret': {
    method: 'PUT',
    path: `${SECRETS}/web-tls`,
    body: secret('web-tls', { type: 'Opaque' }),
  },
  'adopt a certificate Secret with labels and an owner': merge(`${SECRETS}/web-tls`, {
    metadata: { labels: LABELS, ownerReferences: [POD_OWNER] },
  }),
  'adopt a certificate Secret by server-side apply': apply(`${SECRETS}/web-tls`, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'web-tls', labels: LABELS, ownerReferences: [POD_OWNER] },
  }),
  'adopt a Secret of the same type': merge(`${SECRETS}/same-type`, { metadata: { labels: LABELS } }),
  'adopt a Secret without an owner': merge(`${SECRETS}/unowned`, { metadata: { ownerReferences: [POD_OWNER] } }),
  'erase who wrote a foreign Secret': merge(`${SECRETS}/web-tls`, { metadata: { managedFields: [{}] } }),
  'change the type of a foreign Secret': {
    ...merge(`${SECRETS}/web-tls`, { type: TYPE, metadata: { labels: LABELS, ownerReferences: [POD_OWNER] } }),
    refusedAnyway: /field is immutable/,
  },
  'change the type of an issued Secret': {
    ...merge(`${SECRETS}/issued`, { type: 'Opaque' }),
    refusedAnyway: /field is immutable/,
  },
  'remove the labels of an issued Secret': merge(`${SECRETS}/issued`, { metadata: { labels: null } }),
  'remove one label of an issued Secret': merge(`${SECRETS}/issued`, {
    metadata: { labels: { 'app.kubernetes.io/managed-by': null } },
  }),
  'remove the owner of an issued Secret': merge(`${SECRETS}/issued`, { metadata: { ownerReferences: null } }),
  'give an issued Secret to a node': merge(`${SECRETS}/issued`, { metadata: { ownerReferences: [NODE_OWNER] } }),
  'give an issued Secret a second owner': merge(`${SECRETS}/issued`, {
    metadata: { ownerReferences: [POD_OWNER, NODE_OWNER] },
  }),
  'keep an issued Secret from being deleted': merge(`${SECRETS}/issued`, {
    metadata: { finalizers: ['example.test/never'] },
  }),
  'put another key into an issued Secret': merge(`${SECRETS}/issued`, { stringData: { 'config.json': '{}' } }),
  'delete a certificate Secret': remove(`${SECRETS}/web-tls`),
  'delete a Secret of the same type': remove(`${SECRETS}/same-type`),
  'delete a Secret with the same labels': remove(`${SECRETS}/same-labels`),
  'delete a Secret without an owner': remove(`${SECRETS}/unowned`),
  'delete an ownerless Secret of another type': remove(`${SECRETS}/restored-other-type`),
  'delete a Secret that a node owns': remove(`${SECRETS}/restored-other-owner`),
  'adopt a restored Secret': merge(`${SECRETS}/restored`, { metadata: { ownerReferences: [POD_OWNER] } }),
  'change a restored Secret': merge(`${SECRETS}/restored`, { metadata: { annotations: { note: 'mine' } } }),
  'delete all Secrets of a namespace': remove(SECRETS),
};
