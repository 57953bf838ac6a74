/**
 * One tenant's hostile input against another tenant's new pod. The operator is a process with the chart's heap. During each attack a pod
 * of another tenant is created and must be served; how long that took is reported.
 */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type OperatorProcess, startOperator } from '../../testing/cluster/operator-process.ts';
import { report } from '../../testing/support/fault-report.ts';
import { leaf } from '../../testing/support/openssl.ts';
import { collectGarbage } from '../../testing/support/process-memory.ts';
import { eventually } from '../../testing/support/processes.ts';
import { paths } from './admin.ts';
import { Ground, type Site } from './ground.ts';
import { inParallel } from './pool.ts';
import { untilRight } from './recovery.ts';
import { prepare } from './workload.ts';

/** What the chart gives the operator by default: see the deployment's NODE_OPTIONS. */
const CHART_HEAP = '--max-old-space-size=128 --max-semi-space-size=4';
const SPEC = { certificateRef: { name: 'web-tls' }, podSelector: { matchLabels: { app: 'web' } } };
const KB = 1024;

let ground: Ground;
let operator: OperatorProcess;
let victim: Site;
let served = 0;
let directory: string;
/** Bytes of the operator's heap in use before the first attack. */
let heapBefore: number;
const attackers: Site[] = [];

before(async () => {
  ground = await Ground.start();
  const { operatorKubeconfig: kubeconfig, plane } = ground.cluster;
  directory = join(plane.directory, 'heap');
  await mkdir(directory);
  const node = { args: ['--heapsnapshot-signal=SIGUSR2'], directory };
  operator = await startOperator({ kubeconfig, logLevel: 'info', env: { NODE_OPTIONS: CHART_HEAP }, node });
  victim = await ground.site();
  await prepare(victim);
  await victim.createResource(SPEC);
  await victim.createPod('web-first');
  await untilRight(victim, 'before the attacks');
  heapBefore = await heapInUse();
});
after(async () => {
  await operator?.stop();
  await ground?.[Symbol.asyncDispose]();
});

async function heapInUse(): Promise<number> {
  await collectGarbage(operator.pid, directory);
  return await operator.metric('nodejs_heap_size_used_bytes');
}

interface Attack {
  readonly name: string;
  /** In the attacker's namespace, which has a good certificate and a resource `web`. */
  readonly act: (site: Site) => Promise<void>;
  /** The reason that the attacker's own resource must show; undefined where it has nothing to report. */
  readonly reason?: string;
}

const withCertificate = (certificatePem: string, keyPem: string) => async (site: Site) => {
  await site.putCertificate({ certificatePem, keyPem });
};

/** This many names, in lower case as labels and names are. */
const many = (count: number, prefix: string) => Array.from({ length: count }, (_, n) => `${prefix}${n}`);

const ATTACKS: readonly Attack[] = [
  {
    name: 'tls.crt of 200,000 times "BEGIN" (1 MB)',
    act: withCertificate('BEGIN'.repeat(200_000), 'BEGIN'),
    reason: 'CertificateInvalid',
  },
  {
    name: 'tls.crt of 1 MB of "-"',
    act: withCertificate('-'.repeat(1_000_000), '-'),
    reason: 'CertificateInvalid',
  },
  {
    name: 'tls.key of 1 MB in one line after -----BEGIN',
    act: async (site) => {
      const { certificatePem } = leaf();
      await site.putCertificate({ certificatePem, keyPem: `-----BEGIN ${'A '.repeat(450_000)}` });
    },
    reason: 'CertificateInvalid',
  },
  {
    name: '1,500 certificates in one Secret',
    act: async (site) => {
      const { certificatePem, keyPem } = leaf();
      await site.putCertificate({ certificatePem: certificatePem.repeat(1_500).slice(0, 700 * KB), keyPem });
    },
    reason: 'CertificateInvalid',
  },
  {
    name: '40 pods with 255 kB of names each in dcred.dev/inject',
    act: async (site) => {
      const annotations = {
        'dcred.dev/inject': many(40_000, 'n')
          .join(',')
          .slice(0, 255 * KB),
      };
      await inParallel(many(40, 'hostile-'), 4, (name) =>
        site.createPod(name, { 'dcred.dev/inject': 'web' }, annotations),
      );
    },
  },
  {
    name: '20 pods with 2,000 secret.dcred.dev annotations each',
    act: async (site) => {
      const names = many(2_000, 'secret.dcred.dev/r');
      const annotations = Object.fromEntries(names.map((name) => [name, 'x'.repeat(80)]));
      await inParallel(many(20, 'names-'), 4, (name) => site.createPod(name, { app: 'web' }, annotations));
    },
  },
  {
    name: 'look-alike Secrets with 250 kB of foreign annotations',
    act: async (site) => {
      const labels = { 'app.kubernetes.io/managed-by': 'dcred', 'dcred.dev/delegated-credential': 'web' };
      const annotations = { 'example.com/weight': 'x'.repeat(250 * KB) };
      await inParallel(many(40, 'heavy-'), 4, async (name) => {
        await site.admin.create(paths.secrets(site.namespace), { metadata: { name, labels, annotations } });
      });
    },
  },
  {
    name: '300 resources that name as many missing certificates',
    act: async (site) => {
      await inParallel(many(300, 'r-'), 8, (name) =>
        site.createResource({ certificateRef: { name: `missing-${name}` }, podSelector: {} }, name),
      );
    },
  },
  {
    name: 'a subject with terminal controls and text that runs backwards',
    act: async (site) => {
      const { certificatePem, keyPem } = leaf({ subject: '/CN=web\u202eexample/O=\u001b[31mred' });
      await site.putCertificate({ certificatePem, keyPem });
    },
    reason: 'Issued',
  },
];

for (const { act, name, reason } of ATTACKS) {
  test(name, async (t) => {
    const site = await ground.site();
    attackers.push(site);
    await prepare(site);
    await site.createResource(SPEC);
    await site.createPod('web-attacker');
    await act(site);
    served += 1;
    const started = performance.now();
    await victim.createPod(`web-${served}`);
    let violations = 1;
    let worstRecoveryMs = 0;
    try {
      await untilRight(victim, `a new pod of another tenant under: ${name}`, { except: ['status'] });
      worstRecoveryMs = performance.now() - started;
      assert.equal(await operator.health('/healthz'), 200);
      assert.equal(operator.exitCode, null, 'the operator has ended');
      if (reason !== undefined) await ground.cluster.untilReason(site.namespace, 'web', reason);
      violations = 0;
    } finally {
      report(t, { table: 'attacks', fault: name, runs: 1, violations, worstRecoveryMs });
    }
  });
}

test('its memory is back to within a fifth once the objects of the attackers are gone', async (t) => {
  for (const { admin, namespace } of attackers) {
    for (const path of [paths.resources(namespace), paths.pods(namespace), paths.secrets(namespace)])
      await admin.delete(path);
  }
  const back = async () => {
    const heap = await heapInUse();
    t.diagnostic(`${Math.round(heap / 1024)} KiB in use, ${Math.round(heapBefore / 1024)} before the attacks`);
    return heap <= 1.2 * heapBefore || undefined;
  };
  await eventually('the memory to be back', back, { timeoutMs: 300_000, intervalMs: 2_000 });
});
