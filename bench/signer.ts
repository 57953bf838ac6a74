/**
 * What it costs when `dcred signer` signs instead of the operator itself: the first issue of 1,000 pods, each way in turn on the same
 * pods. And how many credentials a second the signer signs for a client that does nothing else.
 */
import { join } from 'node:path';
import { MAX_REQUESTS } from '../src/signer/protocol.ts';
import { startSigner } from '../testing/cluster/signer-process.ts';
import { type Contender, dcred, startContender } from './lib/contender.ts';
import { Observer } from './lib/observer.ts';
import { usageOf } from './lib/process-usage.ts';
import { keep, median, row, spread } from './lib/results.ts';
import { SIGNER_CLIENTS, signingClient, signRequest } from './lib/signing.ts';
import { Stage } from './lib/stage.ts';

const PODS = Number(process.env['DCRED_BENCH_PODS'] ?? 1000);
/** Rounds differ by more than the two ways do: three are too few to tell. */
const ROUNDS = Number(process.env['DCRED_BENCH_ROUNDS'] ?? 9);
const CALLS = 20;

interface Figures {
  /** Credentials a second. */
  readonly rate: number;
  /** CPU of the operator and of the signer, in milliseconds for each credential. */
  readonly operatorCpu: number;
  readonly signerCpu: number;
  /** Signatures per call. */
  readonly perCall: number;
}

async function firstIssue(contender: Contender): Promise<Figures> {
  using observer = Observer.start(stage.api, stage.namespace, 'web-web-');
  const running = await startContender(contender, stage.namespace);
  try {
    const before = await counts(running.pid);
    const started = performance.now();
    await stage.createResource();
    const rate = PODS / (((await observer.until(PODS)) - started) / 1000);
    const after = await counts(running.pid);
    const each = (name: keyof typeof after) => (after[name] - before[name]) / PODS;
    return {
      rate,
      operatorCpu: each('operatorMs'),
      signerCpu: each('signerMs'),
      perCall: each('signed') / each('calls'),
    };
  } finally {
    await running.stop();
    await stage.deleteResource();
    await stage.deleteIssuedSecrets();
  }
}

async function counts(operator: number) {
  const lines = (await signer.metrics()).split('\n');
  const metric = (series: string) => Number(lines.find((line) => line.startsWith(`${series} `))?.split(' ')[1] ?? 0);
  return {
    operatorMs: (await usageOf(operator)).cpuSeconds * 1000,
    signerMs: (await usageOf(signer.pid)).cpuSeconds * 1000,
    signed: metric('dcred_signer_requests_total{result="signed"}'),
    calls: metric('dcred_signer_http_request_duration_seconds_count'),
  };
}

await using stage = await Stage.build();
const { operatorKubeconfig, plane } = stage.cluster;
const certificate = `${stage.namespace}/web-tls`;
const directory = join(plane.directory, 'signer');
await using signer = await startSigner({
  kubeconfig: plane.kubeconfig,
  directory,
  program: join(import.meta.dirname, '..', 'dist', 'app', 'dcred.mjs'),
  config: {
    ...SIGNER_CLIENTS,
    certificates: [{ name: certificate }],
    grants: [{ certificate, from: [{ namespace: stage.namespace }] }],
  },
});
const { client, tokenFile } = await signingClient(signer, plane, directory);
const args = [`--signer=${signer.url}`, `--signer-ca=${signer.caFile}`, `--signer-token=${tokenFile}`];

const request = await signRequest(certificate, stage.namespace);
const { signal } = new AbortController();
const perSecond: Record<string, number> = {};
for (const size of [1, 16, MAX_REQUESTS]) {
  const requests = Array.from({ length: size }, () => request);
  const calls = size === 1 ? CALLS * 20 : CALLS;
  await client.sign(requests, signal); // Warms up.
  const started = performance.now();
  for (let call = 0; call < calls; call += 1) await client.sign(requests, signal);
  perSecond[size] = (size * calls * 1000) / (performance.now() - started);
  row(`the signer alone, one call at a time with ${size} requests: signatures a second`, perSecond[size].toFixed(0));
}
await client.close();

await stage.createPods(0, PODS);
const [own, remote]: [Figures[], Figures[]] = [[], []];
for (let round = 0; round < ROUNDS; round += 1) {
  own.push(await firstIssue(dcred('own', operatorKubeconfig)));
  remote.push(await firstIssue(dcred('remote', operatorKubeconfig, undefined, args)));
}
const of = (all: readonly Figures[], name: keyof Figures) => all.map((one) => one[name]);
row('first issue, signed by the operator: credentials a second', spread(of(own, 'rate')));
row('first issue, signed by the signer: credentials a second', spread(of(remote, 'rate')));
row('CPU of the operator that signs: ms a credential', spread(of(own, 'operatorCpu'), 2));
row('CPU of the operator with a signer: ms a credential', spread(of(remote, 'operatorCpu'), 2));
row('CPU of the signer: ms a credential', spread(of(remote, 'signerCpu'), 2));
row('signatures a call', spread(of(remote, 'perCall'), 1));
row('the signer against the operator itself', (median(of(remote, 'rate')) / median(of(own, 'rate'))).toFixed(2));
await keep('signer', { own, remote, perSecond });
