/**
 * The operator without keys: the chart's signer mode on a real API server. The certificate's key is in a guarded namespace, `dcred signer`
 * alone may read it, a grant of its owner lets the pods' namespace have credentials, and a second cluster has them without a copy of it.
 */

import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { statusCommand } from '../../src/cli/cluster/status.ts';
import { signerCommand } from '../../src/cli/services/signer.ts';
import { type Cluster, type Secret, startCluster } from '../../testing/cluster/cluster.ts';
import { type OperatorProcess, startOperator } from '../../testing/cluster/operator-process.ts';
import type { SignerProcess } from '../../testing/cluster/signer-process.ts';
import { Cable } from '../../testing/support/cable.ts';
import { createTestAuthority } from '../../testing/support/certificates.ts';
import { findInHeap, findInMemory } from '../../testing/support/process-memory.ts';
import { eventually } from '../../testing/support/processes.ts';
import { runCommand } from '../cli/run-command.ts';
import { RUN_ALL } from '../faults/seeded.ts';
import { type Guarded, SYSTEM, startGuarded } from './guarded.ts';
import { annotation, check, uidsOf, untilAllOn, untilTheyGoWithTheGrant } from './issued.ts';

const authority = await createTestAuthority();
const [first, second] = [await authority.issue(), await authority.issue()];
const SPEC = {
  certificateRef: { name: 'web-tls', namespace: 'vault' },
  podSelector: { matchLabels: { app: 'web' } },
  lifetimeSeconds: 3_600,
};

let home: Cluster;
let signer: SignerProcess;
let guarded: Guarded;

before(async () => {
  guarded = await startGuarded(first);
  ({ home, signer } = guarded);
});
after(async () => await guarded?.[Symbol.asyncDispose]());

const grant = (from: readonly object[], spec: object = {}) => ({
  apiVersion: 'dcred.dev/v1alpha1',
  kind: 'DelegationGrant',
  metadata: { namespace: 'vault', name: 'web' },
  spec: { certificateRef: { name: 'web-tls' }, from, ...spec },
});
const EDGE = { namespace: 'edge' };
const EU = { cluster: 'eu-west' };

async function allow(...from: readonly object[]): Promise<void> {
  await home.plane.kubectl(['apply', '-f', '-'], { input: JSON.stringify(grant(from)) });
}

const bySigner = (url = signer.url) => [
  '--leader-elect=false',
  '-n',
  'edge',
  `--signer=${url}`,
  `--signer-ca=${signer.caFile}`,
];

function startHome(options: object = {}): Promise<OperatorProcess> {
  return startOperator({
    kubeconfig: home.operatorKubeconfig,
    args: [...bySigner(), `--signer-token=${guarded.token}`],
    ...options,
  });
}

/**
 * Silence is the harder fault, because calls end only at their deadlines; it takes minutes longer. Its effect on the operator's calls is
 * always tested, in test/signer-client/silence.test.ts.
 */
function lose(cable: Cable): void {
  if (RUN_ALL) cable.silence();
  else cable.cut();
}

/** The tree of `web`, as `dcred status` draws it. */
async function tree(): Promise<string> {
  return (await runCommand(statusCommand, ['web', '-n', 'edge', '--kubeconfig', home.plane.kubeconfig])).stdout;
}

/** The object as it can be created again. */
function withoutVersion(json: string): string {
  const object = JSON.parse(json) as { metadata: { resourceVersion?: string; uid?: string } };
  delete object.metadata.resourceVersion;
  delete object.metadata.uid;
  return JSON.stringify(object);
}

describe('an operator with a signer', () => {
  test('may not read a certificate’s key by any request', async () => {
    const account = `system:serviceaccount:${SYSTEM}:dcred`;
    const requests = [
      ...['get', 'list', 'watch'].flatMap((verb) => [
        [verb, 'secrets', '-n', 'vault'],
        [verb, 'secrets/web-tls', '-n', 'vault'],
        [verb, 'secrets', '-A'],
        [verb, 'secrets', '-n', SYSTEM],
        [verb, 'secrets/dcred-signer-tls', '-n', SYSTEM],
      ]),
      ['create', 'serviceaccounts/dcred-signer', '--subresource=token', '-n', SYSTEM],
      ['create', 'pods', '-n', 'vault'],
      ['create', 'pods', '-n', SYSTEM],
      ['create', 'delegationgrants', '-n', 'vault'],
      ['impersonate', 'serviceaccounts', '-n', SYSTEM],
    ];
    for (const request of requests) {
      const asked = home.plane.kubectl(['auth', 'can-i', ...request, `--as=${account}`]);
      const answer = await asked.then(
        ({ stdout }) => stdout.trim(),
        (error: { stdout?: string }) => error.stdout?.trim(),
      );
      assert.equal(answer, 'no', request.join(' '));
    }
    const may = await home.plane.kubectl(['auth', 'can-i', 'get', 'secrets', '-n', 'edge', `--as=${account}`]);
    assert.equal(may.stdout.trim(), 'yes', 'where it serves pods, it may');
  });

  test('gets credentials once the owner grants them, keeps them while the signer is away, and follows a new leaf', async () => {
    await using operator = await startHome({ steppableClock: true });
    await home.createPods('edge', 3);
    await home.createResource('edge', 'web', SPEC);
    const refused = await home.untilReason('edge', 'web', 'CertificateNotPermitted');
    assert.match(refused.message, /DelegationGrant/);
    await allow(EDGE);
    await home.untilReason('edge', 'web', 'Issued');
    const secrets = await home.untilSecrets('edge', 3);
    for (const secret of secrets) check(secret, first);
    const keys = new Set(secrets.map(({ data }) => data?.['dc.key']));
    assert.equal(keys.size, 3);
    // No node runs the chart's own pods.
    assert.match(await tree(), /^ {2}signer {7}dcred-system\/dcred-signer, 0 of \d available$/m);

    // Renewals fall due while the signer is away for a little less than half a lifetime.
    await signer.kill();
    await operator.stepClock(29 * 60_000);
    await operator.until('the signer does not answer');
    await eventually('the condition SignerAvailable', async () => {
      const { status } = await home.resource('edge', 'web');
      return (
        status?.conditions?.find(({ type }) => type === 'SignerAvailable')?.reason === 'SignerUnavailable' || undefined
      );
    });
    assert.match(await tree(), /^ {2}signer {7}.*; does not answer$/m);
    await eventually('the metric', async () => (await operator.metric('dcred_signer_available')) === 0 || undefined);
    for (const secret of await home.secrets('edge')) check(secret, first, Date.now() / 1000 + 29 * 60);

    await home.putCertificate('vault', 'web-tls', second);
    await signer.start();
    await signer.stepClock(29 * 60_000);
    const replaced = await untilAllOn(home, second, 3);
    for (const secret of replaced) check(secret, second, Date.now() / 1000 + 29 * 60);
    await home.untilReason('edge', 'web', 'Issued');
    await home.untilStatus('edge', 'web', 'no SignerAvailable, which goes with the problem', ({ conditions = [] }) =>
      conditions.every(({ type }) => type !== 'SignerAvailable'),
    );
    const log = await runCommand(signerCommand, ['verify-log', signer.auditLog]);
    assert.equal(log.status, 0, log.stdout);

    // Withdrawn: nothing is issued any more, not even to a new pod.
    await home.plane.kubectl(['delete', 'delegationgrant', 'web', '-n', 'vault']);
    await home.untilReason('edge', 'web', 'CertificateNotPermitted');
    await home.createPod('edge', 'web-late');
    await allow(EDGE);
    await home.untilSecrets('edge', 4);
    await signer.stop();
    await signer.start();
  });
});

describe('the terms of a grant that the signer knows', () => {
  const putGrant = async (spec: object) => {
    const { kind, apiVersion } = grant([]);
    const object = {
      apiVersion,
      kind,
      metadata: { namespace: 'vault', name: 'api' },
      spec: { certificateRef: { name: 'api-tls' }, from: [EDGE], ...spec },
    };
    await home.plane.kubectl(['apply', '-f', '-'], { input: JSON.stringify(object) });
  };
  const secretsOf = async (name: string) =>
    (await home.secrets('edge')).filter(({ metadata }) => metadata.labels?.['dcred.dev/delegated-credential'] === name);
  const untilSecretsOf = async (name: string, count: number) =>
    await eventually(`${count} Secrets of ${name}`, async () => {
      const secrets = await secretsOf(name);
      return secrets.length === count ? secrets : undefined;
    });
  const lifetimeOf = (secret: Secret) =>
    (Date.parse(annotation(secret, 'expires-at')) - Date.parse(annotation(secret, 'issued-at'))) / 1000;

  test('bound the lifetime and the number of pods', async () => {
    await putGrant({ maxLifetimeSeconds: 1_800, maxPods: 2, onWithdraw: 'Delete' });
    await using _operator = await startHome();
    for (const name of ['api-0', 'api-1', 'api-2']) await home.createPod('edge', name, { labels: { app: 'api' } });
    const podSelector = { matchLabels: { app: 'api' } };
    const certificateRef = { name: 'api-tls', namespace: 'vault' };
    await home.createResource('edge', 'api', { certificateRef, podSelector, lifetimeSeconds: 7_200 });
    const { message } = await home.untilReason('edge', 'api', 'PodsFailed');
    assert.match(message, /at most 2 pods of this DelegatedCredential/);
    await home.untilStatus('edge', 'api', "the grant's lifetime", (status) => {
      return (status as { lifetimeSeconds?: number }).lifetimeSeconds === 1_800;
    });
    for (const secret of await untilSecretsOf('api', 2)) {
      check(secret, first);
      assert.ok(lifetimeOf(secret) <= 1_800 && lifetimeOf(secret) > 1_700);
      assert.equal(annotation(secret, 'on-withdraw'), 'Delete');
    }
    await putGrant({ maxLifetimeSeconds: 1_800, maxPods: 3, onWithdraw: 'Delete' });
    await home.untilReason('edge', 'api', 'Issued');
    await untilSecretsOf('api', 3);
  });

  test('delete what was issued once the signer proves the withdrawal, and not while it is away or its grants cannot be read', async () => {
    const before = uidsOf(await untilSecretsOf('api', 3));
    await signer.stop();
    await home.plane.kubectl(['delete', 'delegationgrant', 'api', '-n', 'vault']);
    {
      await using operator = await startHome();
      await home.untilReason('edge', 'api', 'SignerUnavailable');
      assert.deepEqual(uidsOf(await secretsOf('api')), before, 'a signer that is away withdraws nothing');

      // It runs again but may not read the grants: it reports that, and says nothing about any grant.
      const { stdout } = await home.plane.kubectl(['get', 'role', 'dcred-signer', '-n', 'vault', '-o', 'json']);
      await home.plane.kubectl(['delete', 'role', 'dcred-signer', '-n', 'vault']);
      const before_ = signer.lines.length;
      const starting = signer.start();
      await eventually('the signer to be refused', async () =>
        signer.lines.slice(before_).some((line) => line.includes('failed to read the grants of a namespace'))
          ? true
          : undefined,
      );
      await eventually('the operator to have its answer', async () =>
        (await operator.metrics()).includes('dcred_signer_client_requests_total{code="200"}') ? true : undefined,
      );
      await eventually('the resource to say so', async () => {
        const { stdout: shown } = await home.plane.kubectl(['get', 'dcred', 'api', '-n', 'edge', '-o', 'json']);
        return shown.includes('has no answer about certificate') ? true : undefined;
      });
      assert.deepEqual(
        uidsOf(await secretsOf('api')),
        before,
        'a signer that has not read the grants withdraws nothing',
      );
      await home.plane.kubectl(['create', '-f', '-'], { input: withoutVersion(stdout) });
      await starting;
      await home.untilReason('edge', 'api', 'CertificateNotPermitted');
      await untilSecretsOf('api', 0);
      assert.equal(await operator.reached('dcred_secrets_deleted_total{reason="GrantWithdrawn"}', 3), 3);
    }
    await home.plane.kubectl(['delete', 'dcred', 'api', '-n', 'edge']);
    await home.plane.kubectl(['delete', 'pods', '-l', 'app=api', '-n', 'edge', '--grace-period=0', '--force']);
  });
});

describe('the delegation key', () => {
  const scalar = () =>
    Buffer.from((createPrivateKey(second.keyPem).export({ format: 'jwk' }) as { d: string }).d, 'base64url');
  const body = (pem: string) => pem.split('\n')[2] ?? '';
  const inSecret = (pem: string) => Buffer.from(pem).toString('base64');
  /** Each as it may be in memory: as a Secret carries it, as PEM, and as OpenSSL's numbers. */
  const asText = () => ({ secret: inSecret(second.keyPem).slice(64, 160), pem: body(second.keyPem) });
  const asBytes = () => ({
    'secret in bytes': Buffer.from(asText().secret),
    'pem in bytes': Buffer.from(asText().pem),
    'big-endian scalar': scalar(),
    'little-endian scalar': Buffer.from(scalar()).reverse(),
  });
  /** The certificate itself is public, and kept: what shows that the search would find a key. */
  const control = () => ({ certificate: body(second.certificatePem) });

  test('is nowhere in an operator that has a signer, and the signer’s memory shows that it would be found', async () => {
    const directory = join(home.plane.directory, 'heap-of-client');
    mkdirSync(directory);
    await using operator = await startHome({ node: { args: ['--heapsnapshot-signal=SIGUSR2'], directory } });
    await home.untilReason('edge', 'web', 'Issued');
    await home.createPod('edge', 'web-heap');
    await home.untilSecrets('edge', 5);
    assert.deepEqual(await findInHeap(operator.pid, directory, { ...asText(), ...control() }), ['certificate']);
    assert.deepEqual(await findInMemory(operator.pid, asBytes()), []);
    assert.ok((await findInMemory(signer.pid, asBytes())).some((name) => name.endsWith('scalar')));
  });

  test('is not kept as text by an operator that signs itself', async () => {
    await home.plane.kubectl(['create', 'namespace', 'own']);
    await home.putCertificate('own', 'web-tls', second);
    const directory = join(home.plane.directory, 'heap-of-signing');
    mkdirSync(directory);
    const node = { args: ['--heapsnapshot-signal=SIGUSR2'], directory };
    await using operator = await startOperator({
      kubeconfig: home.plane.kubeconfig,
      args: ['--leader-elect=false', '-n', 'own'],
      node,
    });
    await home.createPod('own', 'web-0');
    await home.createResource('own', 'web', { ...SPEC, certificateRef: { name: 'web-tls' } });
    await home.untilReason('own', 'web', 'Issued');
    assert.deepEqual(await findInHeap(operator.pid, directory, { ...asText(), ...control() }), ['certificate']);
    assert.ok(
      (await findInMemory(operator.pid, asBytes())).some((name) => name.endsWith('scalar')),
      'it signs with it',
    );
  });
});

test('a second cluster has credentials of the same leaf without a copy of its key, until its grant goes', async () => {
  await home.putCertificate('vault', 'web-tls', second);
  await allow(EDGE, EU);
  await using far = await startCluster({ namespaces: ['edge'] });
  const { directory, signerCable } = guarded;
  await using cable = await Cable.to(Number(new URL(signer.url).port));
  const args = [
    ...bySigner(`https://localhost:${cable.port}`),
    `--signer-cert=${join(directory, 'eu.crt')}`,
    `--signer-key=${join(directory, 'eu.key')}`,
  ];
  const start = () => startOperator({ kubeconfig: far.operatorKubeconfig, args, steppableClock: true });
  await using here = await startHome();
  const atHome = (await home.secrets('edge')).length;
  await untilAllOn(home, second, atHome);
  await using there = await start();
  // Ten minutes ahead of the signer, and with the whole lifetime that is granted.
  await there.stepClock(600_000);
  await home.plane.kubectl(['apply', '-f', '-'], {
    input: JSON.stringify(grant([EDGE, EU], { maxLifetimeSeconds: 3_600 })),
  });
  await far.createPod('edge', 'web-0');
  await far.createResource('edge', 'web', SPEC);
  const [secret] = await untilAllOn(far, second, 1);
  assert.ok(secret);
  check(secret, second);
  assert.deepEqual(
    (await far.secrets('edge')).filter(({ data }) => data?.['tls.key'] !== undefined),
    [],
  );
  const mine = (await home.secrets('edge')).map(({ data }) => data?.['dc.bin']);
  assert.ok(!mine.includes(secret.data?.['dc.bin']));

  await home.putCertificate('vault', 'web-tls', first);
  await untilAllOn(far, first, 1);
  await untilAllOn(home, first, atHome);

  await allow(EDGE);
  await far.untilReason('edge', 'web', 'CertificateNotPermitted');
  await untilAllOn(home, first, atHome);
  await far.createPod('edge', 'web-1');
  await allow(EDGE, EU);
  await untilAllOn(far, first, 2);

  // The second cluster is cut off from the signer: it keeps whole pairs on the old leaf, and does not take this for a withdrawal.
  lose(cable);
  await there.until('the signer does not answer');
  await home.putCertificate('vault', 'web-tls', second);
  await untilAllOn(home, second, atHome);
  const kept = await untilAllOn(far, first, 2);
  for (const one of kept) check(one, first);
  await far.untilStatus('edge', 'web', 'SignerUnavailable', ({ conditions = [] }) =>
    conditions.some(({ reason }) => reason === 'SignerUnavailable'),
  );
  assert.notEqual((await far.ready('edge', 'web'))?.reason, 'CertificateNotPermitted');
  cable.repair();
  for (const one of await untilAllOn(far, second, 2)) check(one, second);

  // The signer is cut off from its API server: it signs under the grants that it has read, and does not see one withdrawn.
  const terms = { onWithdraw: 'Delete' };
  await home.plane.kubectl(['apply', '-f', '-'], { input: JSON.stringify(grant([EDGE, EU], terms)) });
  await untilTheyGoWithTheGrant(far, 2);
  await untilTheyGoWithTheGrant(home, atHome);
  lose(signerCable);
  await home.plane.kubectl(['delete', 'delegationgrant', 'web', '-n', 'vault']);
  await far.createPod('edge', 'web-2');
  const issued = await untilAllOn(far, second, 3);
  for (const one of issued) check(one, second);
  // Restarted, it has read none: it answers that it cannot decide, and neither operator deletes anything.
  await signer.stop();
  const starting = signer.start();
  for (const operator of [here, there]) {
    await eventually('an answer with status 503', async () =>
      (await operator.metrics()).includes('dcred_signer_client_requests_total{code="503"}') ? true : undefined,
    );
  }
  assert.deepEqual(uidsOf(await far.secrets('edge')), uidsOf(issued));
  assert.equal((await home.secrets('edge')).length, atHome);
  // Repaired: the withdrawal is carried out on both sides.
  signerCable.repair();
  await starting;
  await far.untilReason('edge', 'web', 'CertificateNotPermitted');
  await far.untilSecrets('edge', 0);
  await home.untilSecrets('edge', 0);
  assert.equal(there.exitCode ?? here.exitCode, null);
});
