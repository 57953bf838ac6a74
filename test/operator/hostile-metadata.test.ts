/**
 * Two hundred pods whose authors wrote as much as they could into labels and annotations, against the operator as the chart runs
 * it: it serves another tenant's pod, reports on the hostile ones what it ignores, and restarts with them present.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { load } from 'js-yaml';
import { SECRETS } from '../../src/kubernetes/resource-type.ts';
import { type Cluster, startCluster } from '../../testing/cluster/cluster.ts';
import { type OperatorProcess, startOperator } from '../../testing/cluster/operator-process.ts';
import { leaf } from '../../testing/support/openssl.ts';
import { eventually } from '../../testing/support/processes.ts';

const CHART = join(import.meta.dirname, '..', '..', 'charts', 'dcred');
const HOSTILE = 200;
const MANY_NAMES = Array.from({ length: 61_798 }, (_, index) => index.toString(36))
  .join(',')
  .slice(0, 255_000);

interface Values {
  readonly resources: { readonly limits: { readonly memory: string } };
}

/** As templates/_helpers.tpl computes it (test/chart holds that): half of the limit, or the limit less 256 MiB. */
function chartNodeOptions(): { readonly nodeOptions: string; readonly limitBytes: number } {
  const { resources } = load(readFileSync(join(CHART, 'values.yaml'), 'utf8')) as Values;
  const [, mebibytes = ''] = /^(\d+)Mi$/.exec(resources.limits.memory) ?? [];
  const limit = Number(mebibytes);
  assert.ok(limit > 0, resources.limits.memory);
  const heap = Math.max(Math.floor(limit / 2), limit - 256);
  return { nodeOptions: `--max-old-space-size=${heap} --max-semi-space-size=4`, limitBytes: limit * 2 ** 20 };
}

function residentBytes(pid: number): number {
  const [, kilobytes = ''] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

describe('the operator under the limits of the chart', { skip: process.platform !== 'linux' && 'reads /proc' }, () => {
  const { limitBytes, nodeOptions } = chartNodeOptions();
  let cluster: Cluster;
  let operator: OperatorProcess;
  let namespace: string;

  before(async () => {
    cluster = await startCluster();
    namespace = await cluster.namespace();
    operator = await start();
  });
  after(async () => {
    await operator?.stop();
    await cluster?.[Symbol.asyncDispose]();
  });

  const start = () =>
    startOperator({ kubeconfig: cluster.operatorKubeconfig, env: { NODE_OPTIONS: nodeOptions }, logLevel: 'info' });

  async function serves(tenant: string): Promise<void> {
    await cluster.putCertificate(tenant, 'web-tls', leaf());
    await cluster.createResource(tenant, 'web', { certificateRef: { name: 'web-tls' } });
    await cluster.createPod(tenant, 'web-0', { labels: { 'dcred.dev/inject': 'web' } });
    await cluster.untilSecrets(tenant, 1);
  }

  test('serves another tenant beside 200 hostile pods, and restarts with them present', async () => {
    const labels = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`label-${index}`, 'v'.repeat(60)]));
    const annotations = { 'dcred.dev/inject': MANY_NAMES };
    for (let index = 0; index < HOSTILE; index += 10) {
      const names = Array.from({ length: 10 }, (_, offset) => `hostile-${index + offset}`);
      const options = { labels: { ...labels, 'dcred.dev/inject': 'web' }, annotations };
      await Promise.all(names.map((name) => cluster.createPod(namespace, name, options)));
    }
    await serves(await cluster.namespace());
    assert.equal(operator.exitCode, null, operator.log.slice(-2_000));
    const warned = async () => {
      const events = await cluster.events(namespace);
      return (
        events.find(({ reason, note }) => reason === 'MetadataIgnored' && note?.includes('only the first')) && true
      );
    };
    await eventually('an Event on a hostile pod', warned);

    await operator.stop();
    operator = await start();
    await serves(await cluster.namespace());
    assert.equal(operator.exitCode, null, operator.log.slice(-2_000));
    assert.ok(residentBytes(operator.pid) < limitBytes, `${residentBytes(operator.pid)} bytes`);
  });

  test('keeps what other clients wrote into an issued Secret through a re-issue, however much it is', async () => {
    const tenant = await cluster.namespace();
    await serves(tenant);
    const annotations = Object.fromEntries(
      Array.from({ length: 20 }, (_, index) => [`note-${index}`, 'x'.repeat(5_000)]),
    );
    const [issued] = await cluster.secrets(tenant);
    const ref = { namespace: tenant, name: issued?.metadata.name ?? '' };
    await cluster.client.mergePatch(SECRETS, ref, { metadata: { annotations } }, { signal: cluster.signal });
    await cluster.putCertificate(tenant, 'web-tls', leaf());
    const reissued = async () => {
      const [secret] = await cluster.secrets(tenant);
      return secret?.data?.['tls.crt'] !== issued?.data?.['tls.crt'] ? secret : undefined;
    };
    const { metadata } = await eventually('the credential to be re-issued', reissued);
    for (const [key, value] of Object.entries(annotations)) assert.equal(metadata.annotations?.[key], value);
  });
});
