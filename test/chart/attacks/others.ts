/** Attacks on everything else. */
import { NAMESPACE } from '../chart.ts';
import { type Attempt, type Attempts, create, merge, remove } from './attempt.ts';
import { CONFIGURATIONS, configuration, NAMESPACE_OF_FIXTURES, TENANT } from './fixtures.ts';

const CLUSTER_ADMIN = { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' };

function binding(kind: 'RoleBinding' | 'ClusterRoleBinding') {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind,
    metadata: { name: 'stolen' },
    roleRef: CLUSTER_ADMIN,
    subjects: [{ kind: 'ServiceAccount', name: 'dcred', namespace: NAMESPACE }],
  };
}

export function tokenOf(namespace: string, account: string): Attempt {
  return create(`/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`, {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: {},
  });
}

export const OTHER_ATTACKS: Attempts = {
  'request a token of another account': tokenOf(NAMESPACE_OF_FIXTURES, 'privileged'),
  'bind a role to itself': create(
    `/apis/rbac.authorization.k8s.io/v1/namespaces/${NAMESPACE_OF_FIXTURES}/rolebindings`,
    binding('RoleBinding'),
  ),
  'bind a cluster role to itself': create(
    '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings',
    binding('ClusterRoleBinding'),
  ),
  'create a service account': create(`${TENANT}/serviceaccounts`, {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'another' },
  }),
  'create a ConfigMap': create(`${TENANT}/configmaps`, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'another' },
  }),
  'create a namespace': create('/api/v1/namespaces', {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'another' },
  }),
  'create a node': create('/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata: { name: 'another' } }),
  'create a CronJob': create(`/apis/batch/v1/namespaces/${NAMESPACE_OF_FIXTURES}/cronjobs`, {
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    metadata: { name: 'another' },
    spec: {
      schedule: '* * * * *',
      jobTemplate: {
        spec: {
          template: {
            spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'registry.invalid/evil:1' }] },
          },
        },
      },
    },
  }),
  'delete a CRD': remove('/apis/apiextensions.k8s.io/v1/customresourcedefinitions/delegatedcredentials.dcred.dev'),
  'create a webhook configuration': create(CONFIGURATIONS, configuration('another')),
  'change the webhook configuration of another tool': merge(`${CONFIGURATIONS}/other`, {
    metadata: { labels: { team: 'other' } },
  }),
  'delete the webhook configuration of another tool': remove(`${CONFIGURATIONS}/other`),
};
