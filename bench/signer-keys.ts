/** How many credentials a second `dcred signer` signs for one client, by where its key is: in a Secret, on a token, in a KMS, in Vault. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SignRequest } from '../src/signer/protocol.ts';
import { startSigner } from '../testing/cluster/signer-process.ts';
import { type KeyPlace, publicKeyOf, startKeyPlaces, whyNoKeyPlaces } from '../testing/keys/key-places.ts';
import { createTestAuthority } from '../testing/support/certificates.ts';
import { usageOf } from './lib/process-usage.ts';
import { keep, row, spread } from './lib/results.ts';
import { SIGNER_CLIENTS, signingClient, signRequest } from './lib/signing.ts';
import { Stage } from './lib/stage.ts';

const ROUNDS = Number(process.env['DCRED_BENCH_ROUNDS'] ?? 3);
/** Requests per call in a wave: what an operator collects while another call is in flight. */
const SIZE = 100;
const CALLS = Number(process.env['DCRED_BENCH_CALLS'] ?? 10);
const { signal } = new AbortController();

const absent = await whyNoKeyPlaces();
if (absent !== undefined) {
  row('left out', absent);
  process.exit(0);
}
const authority = await createTestAuthority();
await using keys = await startKeyPlaces();
await using stage = await Stage.build();
const { plane } = stage.cluster;
const directory = join(plane.directory, 'signer');
await mkdir(directory);

/** In a folder, so that reading it costs the same wherever the key is. */
async function location(place: KeyPlace) {
  const folder = join(directory, place.backend);
  await mkdir(folder);
  await writeFile(join(folder, 'tls.crt'), await authority.certify(await publicKeyOf(place, signal)));
  return { name: `${stage.namespace}/${place.backend}`, directory: folder, key: place.uri };
}

const secret = `${stage.namespace}/web-tls`;
const certificates: { readonly name: string }[] = [{ name: secret }];
for (const place of keys.places) certificates.push(await location(place));
await using signer = await startSigner({
  kubeconfig: plane.kubeconfig,
  directory,
  program: join(import.meta.dirname, '..', 'dist', 'app', 'dcred.mjs'),
  config: {
    ...SIGNER_CLIENTS,
    certificates,
    grants: certificates.map(({ name }) => ({ certificate: name, from: [{ namespace: stage.namespace }] })),
  },
  env: Object.assign({}, ...keys.places.map(({ env }) => env)),
});
const { client } = await signingClient(signer, plane, directory);

interface Figures {
  /** Credentials a second, two calls at a time. */
  readonly perSecond: number;
  /** Latency of one call with one request, in milliseconds. */
  readonly aloneMs: number;
  /** CPU of the signer's own process, in milliseconds for each credential; not of what holds the key. */
  readonly cpuMs: number;
}

async function measure(certificate: string): Promise<Figures> {
  const request = await signRequest(certificate, stage.namespace);
  const requests = Array.from({ length: SIZE }, () => request);
  const sign = async (all: readonly SignRequest[]): Promise<void> => {
    const failed = (await client.sign(all, signal)).find(({ ok }) => !ok);
    if (failed !== undefined) throw new Error(`${certificate}: ${JSON.stringify(failed)}`);
  };
  await sign(requests); // Warms up.
  const before = (await usageOf(signer.pid)).cpuSeconds;
  let left = CALLS;
  const started = performance.now();
  const caller = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await sign(requests);
    }
  };
  await Promise.all([caller(), caller()]);
  const seconds = (performance.now() - started) / 1000;
  const cpuMs = (((await usageOf(signer.pid)).cpuSeconds - before) * 1000) / (SIZE * CALLS);
  const single = 5 * CALLS;
  const alone = performance.now();
  for (let call = 0; call < single; call += 1) await sign([request]);
  return { perSecond: (SIZE * CALLS) / seconds, aloneMs: (performance.now() - alone) / single, cpuMs };
}

const names = new Map<string, string>([[secret, 'a Secret']]);
for (const { backend, name } of keys.places) names.set(`${stage.namespace}/${backend}`, name);
const measured = new Map<string, Figures[]>([...names.values()].map((name) => [name, []]));
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [certificate, name] of names) measured.get(name)?.push(await measure(certificate));
}
await client.close();
for (const [name, figures] of measured) {
  const of = (field: keyof Figures) => figures.map((one) => one[field]);
  row(`key in ${name}: signatures a second, calls of ${SIZE}`, spread(of('perSecond')));
  row(`key in ${name}: ms a call of one`, spread(of('aloneMs'), 1));
  row(`key in ${name}: CPU of the signer, ms a signature`, spread(of('cpuMs'), 2));
}
await keep('signer-keys', Object.fromEntries(measured));
