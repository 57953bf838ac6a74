import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { crdFiles } from '../../src/api/crd-yaml.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { eventually } from '../../testing/support/processes.ts';
import { allowed, type Question, VERBS } from './access.ts';
import { NAMESPACE, type Values } from './chart.ts';
import { createRestrictedNamespaces, deploy } from './cluster.ts';

const OPERATOR = { user: 'system:serviceaccount:dcred-system:dcred' };

/** Everything the operator may do in a namespace that it serves. */
const SERVED: Readonly<Record<string, readonly string[]>> = {
  'delegatedcredentials.dcred.dev': ['get', 'list', 'watch'],
  'delegatedcredentials.dcred.dev/status': ['patch'],
  'delegationgrants.dcred.dev': ['get', 'list', 'watch'],
  'delegationgrants.dcred.dev/status': ['patch'],
  pods: ['get', 'list', 'watch', 'patch'],
  secrets: ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete'],
  'events.events.k8s.io': ['create', 'patch'],
};

/** Resources that an attacker would want, which the operator must not reach. */
const SENSITIVE: readonly string[] = [
  'pods/exec',
  'pods/log',
  'pods/ephemeralcontainers',
  'configmaps',
  'services',
  'serviceaccounts',
  'serviceaccounts/token',
  'deployments.apps',
  'nodes',
  'roles.rbac.authorization.k8s.io',
  'rolebindings.rbac.authorization.k8s.io',
  'clusterroles.rbac.authorization.k8s.io',
  'clusterrolebindings.rbac.authorization.k8s.io',
  'customresourcedefinitions.apiextensions.k8s.io',
  'certificatesigningrequests.certificates.k8s.io',
  'mutatingwebhookconfigurations.admissionregistration.k8s.io',
];

function questionsAbout(namespace: string | undefined): readonly Question[] {
  return [...Object.keys(SERVED), ...SENSITIVE].flatMap((resource) =>
    VERBS.map((verb) => ({ verb, resource, ...(namespace === undefined ? {} : { namespace }) })),
  );
}

const READ = ['get', 'list', 'watch'];

describe('permissions', () => {
  let plane: ControlPlane;

  before(async () => {
    plane = await startControlPlane();
    await createRestrictedNamespaces(plane, [NAMESPACE, 'edge', 'shop', 'other']);
  });
  after(() => plane?.stop());

  const expected = new Set(
    Object.entries(SERVED).flatMap(([resource, verbs]) => verbs.map((verb) => `${verb} ${resource}`)),
  );
  /** A namespace is authorized as if it were in itself. */
  const onNamespace = (name: string) => VERBS.map((verb) => ({ verb, resource: 'namespaces', namespace: name, name }));
  const install = async (values: Values) => {
    await plane.helm(['uninstall', 'dcred', '--namespace', NAMESPACE, '--ignore-not-found']);
    await deploy(plane, 'install', { values });
    await plane.untilRolesHold();
  };

  describe('of an operator for every namespace', () => {
    before(() => install({}));

    test('include the metadata of namespaces', async () => {
      assert.deepEqual(
        await allowed(plane, OPERATOR, onNamespace('edge')),
        new Set(READ.map((verb) => `${verb} namespaces`)),
      );
    });

    test('are exactly what it needs, in any namespace', async () => {
      assert.deepEqual(await allowed(plane, OPERATOR, questionsAbout('other')), expected);
    });

    test('cover the whole cluster, as its watches do', async () => {
      assert.deepEqual(await allowed(plane, OPERATOR, questionsAbout(undefined)), expected);
    });
  });

  describe('on pods', () => {
    const onPods = async (values: Values) => {
      await install(values);
      const about = VERBS.map((verb) => ({ verb, resource: 'pods', namespace: 'other' }));
      return await allowed(plane, OPERATOR, about);
    };
    const read = ['get pods', 'list pods', 'watch pods'];

    for (const webhook of [{ gatePods: false }, { enabled: false }]) {
      test(`are read-only without notifyPods and gatePods (${JSON.stringify(webhook)})`, async () => {
        assert.deepEqual(await onPods({ notifyPods: false, webhook }), new Set(read));
      });
    }

    for (const values of [{ notifyPods: false }, { webhook: { gatePods: false } }]) {
      test(`include patch when one of the two is on (${JSON.stringify(values)})`, async () => {
        assert.deepEqual(await onPods(values), new Set([...read, 'patch pods']));
      });
    }
  });

  describe('of an operator for two namespaces', () => {
    before(() => install({ namespaces: ['edge', 'shop'] }));

    test('include get on these namespaces, and on no other', async () => {
      assert.deepEqual(await allowed(plane, OPERATOR, onNamespace('edge')), new Set(['get namespaces']));
      assert.deepEqual(await allowed(plane, OPERATOR, onNamespace('other')), new Set());
    });

    for (const namespace of ['edge', 'shop']) {
      test(`are exactly what it needs in ${namespace}`, async () => {
        assert.deepEqual(await allowed(plane, OPERATOR, questionsAbout(namespace)), expected);
      });
    }
    for (const namespace of ['other', NAMESPACE, undefined]) {
      test(`are none in ${namespace ?? 'the cluster'}`, async () => {
        assert.deepEqual(await allowed(plane, OPERATOR, questionsAbout(namespace)), new Set());
      });
    }
  });

  describe('of an operator for a certificate in a guarded namespace', () => {
    before(() => install({ namespaces: ['edge'], certificates: [{ namespace: 'other', names: ['web-tls'] }] }));

    test('are exactly what it needs in the namespace that it serves', async () => {
      assert.deepEqual(await allowed(plane, OPERATOR, questionsAbout('edge')), expected);
    });

    test('cover the grants of the guarded namespace, and no Secret but the certificate', async () => {
      const grants = ['get', 'list', 'watch'].map((verb) => `${verb} delegationgrants.dcred.dev`);
      const wanted = new Set([...grants, 'patch delegationgrants.dcred.dev/status']);
      assert.deepEqual(await allowed(plane, OPERATOR, questionsAbout('other')), wanted);
      const about = (name: string) => VERBS.map((verb) => ({ verb, resource: 'secrets', namespace: 'other', name }));
      assert.deepEqual(
        await allowed(plane, OPERATOR, about('web-tls')),
        new Set(READ.map((verb) => `${verb} secrets`)),
      );
      assert.deepEqual(await allowed(plane, OPERATOR, about('another')), new Set());
    });

    test('are none in any other namespace', async () => {
      for (const namespace of ['shop', NAMESPACE, undefined]) {
        assert.deepEqual(await allowed(plane, OPERATOR, questionsAbout(namespace)), new Set());
      }
    });
  });

  describe('for the lease', () => {
    const lease = (verb: string, namespace: string, name = 'dcred-operator') => ({
      verb,
      resource: 'leases.coordination.k8s.io',
      namespace,
      name,
    });
    const count = async (questions: readonly Question[]) => (await allowed(plane, OPERATOR, questions)).size;
    before(() => install({}));

    test('allow leader election in its own namespace', async () => {
      const needed = [lease('get', NAMESPACE), lease('create', NAMESPACE, ''), lease('update', NAMESPACE)];
      assert.equal(await count(needed), 3);
    });

    test('cover no other Lease', async () => {
      assert.equal(await count(['get', 'update', 'delete'].map((verb) => lease(verb, NAMESPACE, 'someone-elses'))), 0);
      assert.equal(await count(['get', 'create', 'update'].map((verb) => lease(verb, 'other'))), 0);
    });

    test('cover the Leases of shards and replicas, where there are shards, and only in its own namespace', async () => {
      await install({ operator: { shards: 4 } });
      const needed = ['create', 'get', 'list', 'update'].map((verb) => lease(verb, NAMESPACE, ''));
      assert.equal(await count(needed), 4);
      assert.equal(await count(['get', 'create', 'list', 'update'].map((verb) => lease(verb, 'other'))), 0);
    });

    test('are not granted without leader election', async () => {
      await install({ leaderElection: { enabled: false }, replicas: 1 });
      assert.equal(await count([lease('create', NAMESPACE, ''), lease('get', NAMESPACE)]), 0);
    });
  });
});

describe('permissions of users', () => {
  let plane: ControlPlane;

  before(async () => {
    // The controller manager fills aggregated roles.
    plane = await startControlPlane({ controllerManager: true });
    await createRestrictedNamespaces(plane, [NAMESPACE, 'edge']);
    await deploy(plane, 'install');
    await plane.untilRolesHold();
  });
  after(() => plane?.stop());

  /** Verbs on each resource in a namespace, by role. */
  const USERS: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
    view: { delegatedcredentials: READ, delegationgrants: READ, delegationissuers: READ },
    edit: { delegatedcredentials: VERBS, delegationgrants: READ, delegationissuers: READ },
    admin: { delegatedcredentials: VERBS, delegationgrants: VERBS, delegationissuers: VERBS },
  };
  /** Every kind, and its status, which is dcred's alone. */
  const KINDS = crdFiles().map(({ name }) => name.replace(/^dcred\.dev_|\.yaml$/g, ''));
  const questions = [...KINDS, ...KINDS.map((kind) => `${kind}/status`)].flatMap((path) => {
    const [kind, ...status] = path.split('/');
    return VERBS.map((verb) => ({ verb, resource: [`${kind}.dcred.dev`, ...status].join('/'), namespace: 'edge' }));
  });
  const answers = (verbs: Readonly<Record<string, readonly string[]>>) =>
    new Set(Object.entries(verbs).flatMap(([kind, all]) => all.map((verb) => `${verb} ${kind}.dcred.dev`)));

  for (const [role, verbs] of Object.entries(USERS)) {
    test(`with the role ${role} in a namespace extend to the resources in it`, async () => {
      const user = `${role}-user`;
      await plane.kubectl(['create', 'rolebinding', user, `--clusterrole=${role}`, `--user=${user}`, '-n', 'edge']);
      let found: ReadonlySet<string> = new Set();
      await eventually(`the role ${role} is aggregated`, async () => {
        found = await allowed(plane, { user }, questions);
        return isDeepStrictEqual(found, answers(verbs)) ? true : undefined;
      }).catch((error: unknown) => {
        assert.deepEqual(found, answers(verbs), String(error));
        throw error;
      });
    });
  }

  test('on the issuers of the cluster are those of the ClusterRole for it, to read them', async () => {
    const role = `${NAMESPACE}:dcred-cluster-view`;
    await plane.kubectl(['create', 'clusterrolebinding', 'reader', `--clusterrole=${role}`, '--user=reader']);
    const wanted = answers({ clusterdelegationissuers: READ });
    await eventually('the binding to be in force', async () =>
      isDeepStrictEqual(await allowed(plane, { user: 'reader' }, questions), wanted) ? true : undefined,
    );
  });
});
