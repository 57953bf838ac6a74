/** Three replicas as processes, which share the namespaces in four shards; one is killed. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import type { DelegationGrantStatus } from '../../src/api/delegation-grant.ts';
import { DELEGATION_GRANTS } from '../../src/api/resource-types.ts';
import type { Lease } from '../../src/kubernetes/leader/lease.ts';
import { shardLeaseNames, shardOf } from '../../src/kubernetes/leader/shards.ts';
import type { KubernetesObject } from '../../src/kubernetes/objects.ts';
import { LEASES } from '../../src/kubernetes/resource-type.ts';
import { type Cluster, type Secret, startCluster } from '../../testing/cluster/cluster.ts';
import { type OperatorProcess, startOperator } from '../../testing/cluster/operator-process.ts';
import { createTestAuthority, type TestAuthority } from '../../testing/support/certificates.ts';
import { eventually } from '../../testing/support/processes.ts';
import { servedNamespace } from './scenario.ts';
import { assertServes } from './verification.ts';

type Grant = KubernetesObject<{ readonly status?: DelegationGrantStatus }>;

const RELEASE = 'dcred-system';
const SHARDS = 4;
const shards = Array.from({ length: SHARDS }, (_, shard) => shard);
const leaseNames = shardLeaseNames('dcred-operator', SHARDS);
const isLeading = (shard: number) => `leader_election_master_status{name="${leaseNames[shard]}"}`;

let cluster: Cluster;
let authority: TestAuthority;
const replicas = new Map<string, OperatorProcess>();

async function startReplica(name: string): Promise<OperatorProcess> {
  const env = { POD_NAME: name, POD_NAMESPACE: RELEASE };
  const args = [`--shards=${SHARDS}`];
  const replica = await startOperator({ kubeconfig: cluster.operatorKubeconfig, args, env });
  replicas.set(name, replica);
  return replica;
}

/** Who holds each shard, by the Leases: the replica's name. */
async function holders(): Promise<readonly (string | undefined)[]> {
  const { client, signal } = cluster;
  const { items } = await client.list<Lease>(LEASES, { namespace: RELEASE }, { signal });
  return shards.map((shard) => {
    const lease = items.find(({ metadata }) => metadata.name === leaseNames[shard]);
    return lease?.spec?.holderIdentity?.split('_')[0] || undefined;
  });
}

/** Resolves once living replicas hold all shards, evenly, and agree on them. */
async function untilShared(): Promise<readonly string[]> {
  return await eventually(`the shards to be shared among ${[...replicas.keys()].join(', ')}`, async () => {
    const held = await holders();
    const counts = [...replicas.keys()].map((name) => held.filter((holder) => holder === name).length);
    if (counts.reduce((sum, count) => sum + count, 0) < SHARDS) return undefined;
    if (Math.max(...counts) - Math.min(...counts) > 1) return undefined;
    for (const [name, replica] of replicas) {
      for (const shard of shards) {
        if ((await replica.metric(isLeading(shard))) !== Number(held[shard] === name)) return undefined;
      }
    }
    return held.flatMap((holder) => holder ?? []);
  });
}

/** One namespace of each shard, with a resource and two pods that are served. */
async function servedShards(): Promise<readonly string[]> {
  const found = new Map<number, string>();
  while (found.size < SHARDS) {
    const namespace = await servedNamespace({ authority, cluster });
    const shard = shardOf(namespace, SHARDS);
    if (found.has(shard)) continue;
    found.set(shard, namespace);
    await cluster.createPods(namespace, 2);
  }
  const namespaces = shards.map((shard) => found.get(shard) ?? '');
  for (const namespace of namespaces) await cluster.untilSecrets(namespace, 2);
  return namespaces;
}

const versions = (secrets: readonly Secret[]) =>
  new Map(secrets.map(({ metadata: { name, resourceVersion } }) => [name, resourceVersion]));

before(async () => {
  cluster = await startCluster({ controllerManager: true });
  const values = [
    'upgrade',
    'dcred',
    'charts/dcred',
    '-n',
    RELEASE,
    '--set',
    `webhook.enabled=false,operator.shards=${SHARDS}`,
  ];
  await cluster.plane.helm(values);
  authority = await createTestAuthority();
  await Promise.all(['one', 'two', 'three'].map(startReplica));
});
after(async () => {
  await Promise.all([...replicas.values()].map((replica) => replica.stop()));
  await cluster?.[Symbol.asyncDispose]();
});

test('three replicas share the shards, and each serves its own namespaces', async () => {
  const held = await untilShared();
  const namespaces = await servedShards();
  for (const [shard, namespace] of namespaces.entries()) {
    for (const secret of await cluster.secrets(namespace)) assertServes(secret);
    await cluster.untilReason(namespace, 'web', 'Issued');
    const writers = () =>
      [...replicas].flatMap(([name, replica]) => {
        const wrote = replica.entries.some(
          (entry) => entry['msg'] === 'issued a credential' && entry['namespace'] === namespace,
        );
        return wrote ? [name] : [];
      });
    await eventually(`a log line about ${namespace}`, async () => writers().length > 0 || undefined);
    assert.deepEqual(writers(), [held[shard]], namespace);
  }
});

test('a replica that is killed: its shards are served by the others, and nothing is issued again', async () => {
  const namespaces = await servedShards();
  const held = await untilShared();
  const before = await Promise.all(namespaces.map((namespace) => cluster.secrets(namespace)));
  const [name = '', replica] = [...replicas].find(([one]) => held.includes(one)) ?? [];
  await replica?.kill();
  replicas.delete(name);
  const orphan = namespaces[held.indexOf(name)] ?? '';
  await cluster.createPod(orphan, 'late');
  await cluster.untilSecrets(orphan, 3);
  const now = await untilShared();
  for (const [shard, holder] of held.entries()) {
    if (holder !== name) assert.equal(now[shard], holder, 'the shards of the living stay where they are');
  }
  for (const [index, namespace] of namespaces.entries()) {
    await cluster.untilReason(namespace, 'web', 'Issued');
    const after = versions(await cluster.secrets(namespace));
    for (const [secret, version] of versions(before[index] ?? [])) assert.equal(after.get(secret), version);
  }
});

test('a new replica gets its share, and none of the Secrets is issued again', async () => {
  const namespaces = await servedShards();
  await untilShared();
  const before = await Promise.all(namespaces.map((namespace) => cluster.secrets(namespace)));
  await startReplica('four');
  const held = await untilShared();
  assert.ok(held.includes('four'));
  for (const [index, namespace] of namespaces.entries()) {
    await cluster.createPod(namespace, 'late');
    const after = versions(await cluster.untilSecrets(namespace, 3));
    for (const [secret, version] of versions(before[index] ?? [])) assert.equal(after.get(secret), version);
  }
  for (const replica of replicas.values()) {
    // On a busy machine a renewal may come too late, and the shard goes on elsewhere: that is what the Lease is for.
    const wrong = replica.entries.filter(({ level, msg }) => level === 'error' && msg !== 'lost the lease');
    assert.deepEqual(wrong, []);
    assert.ok(!replica.log.includes('NotServed'), replica.log);
  }
});

test('a replica that is frozen for longer than its Leases last does not serve its old shards when it resumes', async () => {
  const namespaces = await servedShards();
  const held = await untilShared();
  const [name = '', replica] = [...replicas].find(([one]) => held.includes(one)) ?? [];
  assert.ok(replica !== undefined);
  const { pid } = replica;
  let before: readonly (readonly Secret[])[];
  process.kill(pid, 'SIGSTOP');
  replicas.delete(name);
  try {
    await untilShared();
    // While it is frozen: pods that the replica would serve as soon as it resumes if it took the shards for its own.
    for (const namespace of namespaces) await cluster.createPod(namespace, 'late');
    for (const namespace of namespaces) await cluster.untilSecrets(namespace, 3);
    before = await Promise.all(namespaces.map((namespace) => cluster.secrets(namespace)));
  } finally {
    process.kill(pid, 'SIGCONT');
    replicas.set(name, replica);
  }
  await untilShared();
  for (const [index, namespace] of namespaces.entries()) {
    await cluster.untilReason(namespace, 'web', 'Issued');
    assert.deepEqual(versions(await cluster.secrets(namespace)), versions(before[index] ?? []));
  }
});

test('the status of a grant counts its users in every shard, also after its own has moved', async () => {
  const { client, signal } = cluster;
  const held = await untilShared();
  const owner = await cluster.namespace();
  await cluster.putCertificate(owner, 'web-tls', await authority.issue());
  const consumers = new Map<number, string>();
  while (consumers.size < SHARDS) {
    const namespace = await cluster.namespace();
    consumers.set(shardOf(namespace, SHARDS), namespace);
  }
  const namespaces = [...consumers.values()].sort();
  const grant = {
    apiVersion: 'dcred.dev/v1alpha1',
    kind: 'DelegationGrant',
    metadata: { namespace: owner, name: 'web' },
    spec: { certificateRef: { name: 'web-tls' }, from: namespaces.map((namespace) => ({ namespace })) },
  };
  await cluster.plane.kubectl(['apply', '-f', '-'], { input: JSON.stringify(grant) });
  const statusOf = async () =>
    (await client.get<Grant>(DELEGATION_GRANTS, { namespace: owner, name: 'web' }, { signal })).status ?? {};
  const untilUsed = async (pods: number) => {
    const users = namespaces.map((namespace) => ({ namespace, pods }));
    await eventually(`${pods} pods in each namespace`, async () => {
      const status = await statusOf();
      return isDeepStrictEqual(status.users, users) && status.pods === SHARDS * pods ? true : undefined;
    });
  };
  const certificateRef = { name: 'web-tls', namespace: owner };
  const spec = { certificateRef, podSelector: { matchLabels: { app: 'web' } } };
  for (const namespace of namespaces) {
    await cluster.createResource(namespace, 'web', spec);
    await cluster.createPods(namespace, 1);
  }
  await untilUsed(1);

  const name = held[shardOf(owner, SHARDS)] ?? '';
  const replica = replicas.get(name);
  replicas.delete(name);
  assert.equal(await replica?.stop(), 0);
  await startReplica('five');
  await untilShared();
  for (const namespace of namespaces) await cluster.createPod(namespace, 'late');
  await untilUsed(2);

  // Of a certificate that cannot be used, its owner is told, whoever serves the users.
  const usable = async () => (await statusOf()).conditions?.find(({ type }) => type === 'CertificateUsable')?.reason;
  await cluster.putCertificate(owner, 'web-tls', await authority.issue({ delegationUsage: false }));
  await eventually('the owner to be told', async () => (await usable()) === 'CertificateCannotDelegate' || undefined);
  for (const namespace of namespaces) {
    await cluster.plane.kubectl(['delete', 'dcred', 'web', '-n', namespace, '--wait=false']);
  }
  await eventually('nobody to use it', async () => {
    const { namespaces: users, pods } = await statusOf();
    return users === 0 && pods === 0 ? true : undefined;
  });
});

test('a replica that stops hands its shards over at once, and no longer shows its resources', async () => {
  const held = await untilShared();
  const [name = '', replica] = [...replicas].find(([one]) => held.includes(one)) ?? [];
  replicas.delete(name);
  assert.equal(await replica?.stop(), 0);
  await untilShared();
  await eventually('each resource to be shown by one replica', async () => {
    const rows = await Promise.all([...replicas.values()].map((one) => one.metrics()));
    const ready = rows.flatMap((text) => text.split('\n').filter((line) => line.startsWith('dcred_ready{')));
    const labels = ready.map((line) => line.split(' ')[0]);
    return (labels.length > 0 && labels.length === new Set(labels).size) || undefined;
  });
});
