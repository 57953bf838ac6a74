import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { renewCommand } from '../../src/cli/cluster/renew.ts';
import { UsageError } from '../../src/cli/command.ts';
import { UnknownResourcesError } from '../../src/renew/request.ts';
import { WatchRefusedError } from '../../src/renew/wait.ts';
import type { Secret } from '../../testing/cluster/cluster.ts';
import { startOperator } from '../../testing/cluster/operator-process.ts';
import { eventually } from '../../testing/support/processes.ts';
import { runCommand } from '../cli/run-command.ts';
import { scenario, servedNamespace } from './scenario.ts';
import { assertServes } from './verification.ts';

const running = scenario();
const REQUESTED = 'dcred_credentials_issued_total{reason="RenewRequested"}';

/** Its own limit is for a person who waits, and a busy machine needs longer. */
const WAIT = ['--wait', '--timeout=5m'];

const renew = (...argv: string[]) => renewWith({}, ...argv);

async function renewWith({ aheadSeconds = 0, kubeconfig = running().cluster.plane.kubeconfig }, ...argv: string[]) {
  const now = Math.floor(Date.now() / 1000) + aheadSeconds;
  return await runCommand(renewCommand, [`--kubeconfig=${kubeconfig}`, ...argv], { now });
}

/** The public keys in the namespace, which tell its credentials apart. */
async function keys(namespace: string): Promise<ReadonlySet<string>> {
  return new Set((await running().cluster.secrets(namespace)).map((secret) => assertServes(secret).publicKey));
}

/** A request counts from a whole second: what is issued within that second may count as newer than the request. */
async function withPods(count: number, spec: object = {}): Promise<{ namespace: string; before: ReadonlySet<string> }> {
  const { cluster } = running();
  const namespace = await servedNamespace(running(), spec);
  await cluster.createPods(namespace, count);
  const secrets = await cluster.untilSecrets(namespace, count);
  await cluster.untilReason(namespace, 'web', 'Issued');
  const latest = Math.max(...secrets.map(issuedAt));
  await eventually('the second of the issue to be over', async () => (Date.now() > latest + 1_000 ? true : undefined));
  return { namespace, before: await keys(namespace) };
}

function issuedAt({ metadata }: Secret): number {
  return Date.parse(metadata.annotations?.['dcred.dev/issued-at'] ?? '');
}

async function assertAllNew(namespace: string, before: ReadonlySet<string>): Promise<void> {
  const after = await keys(namespace);
  assert.equal(after.size, before.size);
  assert.ok([...after].every((key) => !before.has(key)));
}

test('a renewal re-issues every credential, each once, and says how many and how fast', async (t) => {
  const { cluster, operator } = running();
  const { before, namespace } = await withPods(20);
  const counted = await operator.metric(REQUESTED);
  const { status, stderr, stdout } = await renew('web', '-n', namespace, ...WAIT);
  t.diagnostic(stdout);
  assert.equal(status, 0);
  assert.match(stdout, new RegExp(`^${namespace}/web: requested$`, 'm'));
  assert.match(stdout, /^re-issued 20 of 20 credentials in \d+\.\d s \(\d+\.\d\/s\)$/m);
  assert.match(stderr, /^\d+ of 20 credentials re-issued$/m);
  await assertAllNew(namespace, before);
  await cluster.untilReason(namespace, 'web', 'Issued');
  assert.equal(await operator.reached(REQUESTED, counted + 20), counted + 20);
  await eventually('an Event', async () =>
    (await cluster.events(namespace)).find(({ reason }) => reason === 'RenewRequested'),
  );
});

test('a request is fulfilled once, even by an operator that starts later', async () => {
  const { cluster, operator } = running();
  const { namespace } = await withPods(3);
  assert.equal((await renew('web', '-n', namespace, ...WAIT)).status, 0);
  const after = await keys(namespace);
  await using second = await startOperator({ kubeconfig: cluster.operatorKubeconfig });
  await cluster.createPod(namespace, 'web-3');
  await cluster.untilSecrets(namespace, 4);
  const still = await keys(namespace);
  assert.ok([...after].every((key) => still.has(key)));
  assert.equal(await second.metric(REQUESTED), 0);
  assert.ok((await operator.metric(REQUESTED)) >= 3);
});

test('kubectl annotate does the same', async () => {
  const { cluster } = running();
  const { before, namespace } = await withPods(2);
  const now = new Date().toISOString();
  await cluster.plane.kubectl(['annotate', 'dcred', 'web', '-n', namespace, `dcred.dev/renew-requested-at=${now}`]);
  await eventually('both to be new', async () =>
    [...(await keys(namespace))].some((key) => before.has(key)) ? undefined : true,
  );
});

test('a request that is not a time is reported, and everything else continues', async () => {
  const { cluster } = running();
  const { before, namespace } = await withPods(1);
  await cluster.plane.kubectl(['annotate', 'dcred', 'web', '-n', namespace, 'dcred.dev/renew-requested-at=now']);
  const event = await eventually('an Event about the annotation', async () =>
    (await cluster.events(namespace)).find(({ reason }) => reason === 'RenewRequestUnreadable'),
  );
  assert.match(event.note ?? '', /RFC 3339 such as 2026-11-22T22:00:00Z/);
  await cluster.createPod(namespace, 'web-9');
  await cluster.untilSecrets(namespace, 2);
  const after = await keys(namespace);
  assert.ok([...before].every((key) => after.has(key)));
});

test('an hour ahead or behind, the command uses the clock of the API server', async () => {
  for (const aheadSeconds of [3600, -3600]) {
    const { before, namespace } = await withPods(2);
    const { status, stdout } = await renewWith({ aheadSeconds }, 'web', '-n', namespace, ...WAIT);
    assert.match(stdout, /the clock of the API server differs from this one by -?3[56]\d\d s/);
    assert.equal(status, 0);
    await assertAllNew(namespace, before);
  }
});

test('all of a namespace, by label, and as JSON', async () => {
  const { cluster } = running();
  const { before, namespace } = await withPods(2);
  await cluster.plane.kubectl(['label', 'dcred', 'web', '-n', namespace, 'team=edge']);
  const { status, stdout } = await renew('-l', 'team=edge', '-A', ...WAIT, '-o', 'json');
  assert.equal(status, 0);
  const outcome = JSON.parse(stdout) as Record<string, unknown>;
  assert.deepEqual(outcome['resources'], [{ namespace, name: 'web', suspended: false }]);
  assert.deepEqual([outcome['complete'], outcome['total'], outcome['reissued']], [true, 2, 2]);
  assert.deepEqual(outcome['pending'], []);
  await assertAllNew(namespace, before);
  const all = await renew('-A', '-n', namespace, '-o', 'json');
  assert.equal((JSON.parse(all.stdout) as { resources: [] }).resources.length, 1);
});

test('a suspended resource is reported, and renewed once it resumes', async () => {
  const { cluster } = running();
  const { before, namespace } = await withPods(2);
  await cluster.patchResource(namespace, 'web', { suspend: true });
  await cluster.untilReason(namespace, 'web', 'Suspended');
  const { status, stdout } = await renew('web', '-n', namespace, '--wait', '--timeout=5s');
  assert.equal(status, 1);
  assert.match(stdout, /web: requested, but suspended: re-issued once spec.suspend is false/);
  assert.match(stdout, /^nothing is waited for: 1 suspended$/m);
  assert.doesNotMatch(stdout, /nothing to re-issue/);
  assert.deepEqual(await keys(namespace), before);
  await cluster.patchResource(namespace, 'web', { suspend: false });
  await eventually('both to be new', async () =>
    [...(await keys(namespace))].some((key) => before.has(key)) ? undefined : true,
  );
});

test('a resource without pods has nothing to wait for', async () => {
  const namespace = await servedNamespace(running());
  const { status, stdout } = await renew('web', '-n', namespace, ...WAIT);
  assert.equal(status, 0);
  assert.match(stdout, /nothing to re-issue/);
});

describe('what cannot be renewed', () => {
  test('a name that does not exist: nothing is requested, and the error lists what does', async () => {
    const { before, namespace } = await withPods(1);
    await assert.rejects(renew('web', 'nosuch', '-n', namespace), (error) => {
      assert.ok(error instanceof UnknownResourcesError);
      assert.match(error.message, /no DelegatedCredential "nosuch" .*, which has web: nothing was changed/);
      return true;
    });
    assert.deepEqual(await keys(namespace), before);
  });

  test('labels that nothing has', async () => {
    await assert.rejects(renew('-l', 'team=nobody', '-A'), /no DelegatedCredential has the labels/);
  });

  test('what cannot be the name of a namespace', async () => {
    for (const namespace of ['', 'a/b', 'a,b', '*', 'A', '../default']) {
      await assert.rejects(renew('web', '-n', namespace), {
        name: 'UsageError',
        message: /takes the name of one namespace/,
      });
    }
  });

  test('one without permission to write it: the others are requested, and it is listed', async () => {
    const { cluster } = running();
    const [mine, foreign] = [await withPods(1), await withPods(1)];
    const { namespace } = mine;
    await cluster.plane.kubectl(['create', 'serviceaccount', 'person', '-n', namespace]);
    const resource = '--resource=delegatedcredentials.dcred.dev';
    const person = `--serviceaccount=${namespace}:person`;
    await cluster.plane.kubectl(['create', 'clusterrole', `list-${namespace}`, resource, '--verb=list']);
    await cluster.plane.kubectl([
      'create',
      'clusterrolebinding',
      `list-${namespace}`,
      `--clusterrole=list-${namespace}`,
      person,
    ]);
    await cluster.plane.kubectl(['create', 'role', 'renew', '-n', namespace, resource, '--verb=patch']);
    await cluster.plane.kubectl(['create', 'rolebinding', 'renew', '-n', namespace, '--role=renew', person]);
    const kubeconfig = await cluster.plane.kubeconfigFor({ serviceAccount: { namespace, name: 'person' } });
    const account = `system:serviceaccount:${namespace}:person`;
    await cluster.plane.untilMay(true, account, 'list', 'delegatedcredentials.dcred.dev', '-A');
    await cluster.plane.untilMay(true, account, 'patch', 'delegatedcredentials.dcred.dev', '-n', namespace);
    const { status, stderr, stdout } = await renewWith({ kubeconfig }, '-A', '-o', 'json');
    assert.equal(status, 1);
    assert.match(stderr, /not requested for \d+ of \d+:\n/);
    assert.match(stderr, new RegExp(`  ${foreign.namespace}/web: .*forbidden`));
    const { failures } = JSON.parse(stdout) as { failures: readonly { namespace: string }[] };
    assert.ok(failures.some((failure) => failure.namespace === foreign.namespace));
    assert.ok(!failures.some((failure) => failure.namespace === namespace));
    const waited = await renewWith({ kubeconfig }, '-A', '-n', foreign.namespace, '--wait');
    assert.equal(waited.status, 1);
    assert.match(waited.stdout, /^nothing is waited for: 1 could not be requested$/m);
    assert.doesNotMatch(waited.stdout, /nothing to re-issue/);
    await eventually('mine to be renewed', async () =>
      [...(await keys(namespace))].some((key) => mine.before.has(key)) ? undefined : true,
    );
    assert.deepEqual(await keys(foreign.namespace), foreign.before);
  });

  test('nothing named, or names and all', async () => {
    await assert.rejects(renew(), UsageError);
    await assert.rejects(renew('web', '-A'), UsageError);
    await assert.rejects(renew('web', '-l', 'a=b'), UsageError);
  });

  test('waiting without permission to watch Secrets: says so, and the request stands', async () => {
    const { cluster } = running();
    const { before, namespace } = await withPods(1);
    await cluster.plane.kubectl(['create', 'serviceaccount', 'person', '-n', namespace]);
    const role = ['create', 'role', 'renew', '-n', namespace, '--resource=delegatedcredentials.dcred.dev'];
    await cluster.plane.kubectl([...role, '--verb=get,list,patch']);
    const binding = ['create', 'rolebinding', 'renew', '-n', namespace, '--role=renew'];
    await cluster.plane.kubectl([...binding, `--serviceaccount=${namespace}:person`]);
    const kubeconfig = await cluster.plane.kubeconfigFor({ serviceAccount: { namespace, name: 'person' } });
    const account = `system:serviceaccount:${namespace}:person`;
    await cluster.plane.untilMay(true, account, 'patch', 'delegatedcredentials.dcred.dev', '-n', namespace);
    await assert.rejects(renewWith({ kubeconfig }, 'web', '-n', namespace, '--wait'), WatchRefusedError);
    await eventually('it to be renewed all the same', async () =>
      [...(await keys(namespace))].some((key) => before.has(key)) ? undefined : true,
    );
  });
});

test('while no operator runs, the waiting pods are named, and the next operator renews them', async () => {
  const { cluster, operator } = running();
  const { before, namespace } = await withPods(3);
  await operator.kill();
  const late = await renew('web', '-n', namespace, '--wait', '--timeout=20s');
  assert.equal(late.status, 1);
  assert.match(late.stdout, /^re-issued 0 of 3 credentials/m);
  for (const name of ['web-0', 'web-1', 'web-2']) {
    assert.match(late.stderr, new RegExp(`^  pod ${namespace}/${name} \\(Secret web-${name}\\)$`, 'm'));
  }
  assert.deepEqual(await keys(namespace), before);
  await using next = await startOperator({ kubeconfig: cluster.operatorKubeconfig });
  await eventually('all to be new', async () =>
    [...(await keys(namespace))].some((key) => before.has(key)) ? undefined : true,
  );
  await assertAllNew(namespace, before);
  assert.equal(await next.reached(REQUESTED, 3), 3);
});
