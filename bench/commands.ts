/**
 * What a user waits for: `dcred status -A` over a fleet, `dcred probe` of one server, `dcred audit` of many, and its report in a browser.
 * Each runs as a user starts it, from the built file.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { auditReport } from '../src/audit/report/document.ts';
import { Fleet } from '../testing/cluster/audited-fleet.ts';
import { startBoringServer } from '../testing/peers/boringssl-server.ts';
import { Chromium, findChromium } from '../testing/peers/chromium.ts';
import { findPeers } from '../testing/peers/peers.ts';
import { createTestAuthority } from '../testing/support/certificates.ts';
import { imaginaryFleet } from '../testing/support/imaginary-fleet.ts';
import { dcred, startContender } from './lib/contender.ts';
import { Observer } from './lib/observer.ts';
import { keep, row, spread } from './lib/results.ts';
import { Stage } from './lib/stage.ts';

const PODS = Number(process.env['DCRED_BENCH_FLEET'] ?? process.env['DCRED_BENCH_PODS'] ?? 10_000);
const SERVERS = Number(process.env['DCRED_BENCH_SERVERS'] ?? Math.min(1_000, PODS));
const ROUNDS = Number(process.env['DCRED_BENCH_ROUNDS'] ?? 3);
const BUNDLE = join(import.meta.dirname, '..', 'dist', 'dcred.js');
/** Servers that are started, and pods that are written, at a time. */
const AT_A_TIME = 25;

const results: Record<string, readonly number[]> = {};
await using stack = new AsyncDisposableStack();
const peers = await findPeers();
if (!peers.available) throw new Error(peers.reason);
const stage = stack.use(await Stage.build());
const folder = await mkdtemp(join(tmpdir(), 'dcred-bench-'));
stack.defer(() => rm(folder, { recursive: true, force: true }));
const leaf = await (await createTestAuthority()).issue({ notBefore: new Date(Date.now() - 86_400_000) });

await statusOfFleet();
await auditOfServers();
await reportInBrowser();
await keep('commands', { pods: PODS, servers: SERVERS, milliseconds: results });

async function statusOfFleet(): Promise<void> {
  await stage.createResource();
  await stage.createPods(0, PODS);
  using observer = Observer.start(stage.api, stage.namespace, 'web-web-');
  const running = await startContender(dcred('dcred', stage.cluster.operatorKubeconfig), stage.namespace);
  await observer.until(PODS);
  await running.stop();
  await measured(`dcred status -A, ${PODS} pods, ms`, ['status', '-A']);
  await measured(`dcred status -A --pods, ${PODS} pods, ms`, ['status', '-A', '--pods']);
}

/** Each pod's server has its own port and serves the credential of the pod's Secret. */
async function auditOfServers(): Promise<void> {
  const namespace = await stage.cluster.namespace();
  const fleet = stack.use(new Fleet(stage.cluster.client, namespace, leaf));
  await fleet.createResource();
  let port = 0;
  const serve = async (name: string) => {
    if (!peers.available) return;
    // The port is known only once the server listens, the uid only once the pod exists: the Secret is made without a uid and corrected.
    const secret = await fleet.makeSecret({ name, uid: '' });
    const server = stack.use(
      await startBoringServer({ binary: peers.serverBinary, directory: await fleet.mount(secret) }),
    );
    port = server.port;
    const uid = await fleet.createPod(name, { port });
    const ownerReferences = (secret.metadata.ownerReferences ?? []).map((owner) => ({ ...owner, uid }));
    await fleet.publish({ ...secret, metadata: { ...secret.metadata, ownerReferences } });
  };
  const names = Array.from({ length: SERVERS }, (_, index) => `server-${index}`);
  while (names.length > 0) await Promise.all(names.splice(0, AT_A_TIME).map(serve));
  await measured('node, a start that does nothing, ms', undefined);
  await measured('dcred version, which does nothing else, ms', ['version']);
  await measured('dcred probe, one server on loopback, ms', ['probe', `127.0.0.1:${port}`, '--sni', 'web.example']);
  await measured(`dcred audit, ${SERVERS} servers, ms`, ['audit', '-n', namespace, '--via', 'pod-ip']);
}

async function reportInBrowser(): Promise<void> {
  const absent = await findChromium();
  if (absent !== undefined) throw new Error(absent);
  const file = join(folder, 'report.html');
  await writeFile(file, auditReport(imaginaryFleet({ pods: PODS }), '0.0.0'));
  await using chromium = await Chromium.start();
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const page = await chromium.open(pathToFileURL(file).href, { width: 1280, height: 900, scheme: 'light' });
    // From the start of the navigation until the page is painted: two frames after it reports that it is ready.
    times.push(
      await page.evaluate<number>(
        'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))',
      ),
    );
  }
  note(`the report of ${PODS} pods drawn in Chromium, ms`, times);
}

/** The whole process, from start to exit; undefined: Node alone. */
async function measured(what: string, args: readonly string[] | undefined): Promise<void> {
  const words = args === undefined ? ['--eval', '0'] : [BUNDLE, ...args];
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const started = performance.now();
    const child = spawn(process.execPath, words, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, KUBECONFIG: stage.cluster.plane.kubeconfig },
    });
    const errors: string[] = [];
    child.stderr.setEncoding('utf8').on('data', (text: string) => errors.push(text));
    const [status] = await once(child, 'close');
    times.push(performance.now() - started);
    // Status 1 is expected too: the probe has no CA file to verify with. The work is the same.
    if (status !== 0 && (status !== 1 || errors.length > 0))
      throw new Error(`${what}: status ${status}: ${errors.join('')}`);
  }
  note(what, times);
}

function note(what: string, times: readonly number[]): void {
  row(what, spread(times));
  results[what] = times;
}
