/** The chart's signer mode: a namespace `vault` with certificates, a namespace `edge` with pods, and a signer between them. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { load } from 'js-yaml';
import { makeDevCertificate } from '../../src/provision/dev-authority.ts';
import { type Cluster, startCluster } from '../../testing/cluster/cluster.ts';
import { type SignerProcess, startSigner } from '../../testing/cluster/signer-process.ts';
import { Cable } from '../../testing/support/cable.ts';
import type { LeafFiles } from '../../testing/support/certificates.ts';

export const SYSTEM = 'dcred-system';
/** The DNS name in the client certificate of the operator in the cluster `eu-west`. */
const EU_NAME = 'operator.eu-west.example';

export interface Guarded extends AsyncDisposable {
  readonly home: Cluster;
  readonly signer: SignerProcess;
  /** Between the signer and its own API server. */
  readonly signerCable: Cable;
  /** A file with the token of the operator at home, for the signer. */
  readonly token: string;
  /** Has `eu.crt` and `eu.key`, the client certificate of another cluster's operator. */
  readonly directory: string;
}

/** `web-tls` and `api-tls` in `vault` are this leaf. */
export async function startGuarded(leaf: LeafFiles): Promise<Guarded> {
  await using stack = new AsyncDisposableStack();
  const home = stack.use(
    await startCluster({
      namespaces: ['vault', 'edge'],
      helm: [
        '--set-json',
        'namespaces=["edge"]',
        '--set',
        'signer.enabled=true',
        '--set-json',
        'signer.certificates=[{"namespace":"vault","names":["web-tls","api-tls"]}]',
      ],
    }),
  );
  await home.putCertificate('vault', 'web-tls', leaf);
  await home.putCertificate('vault', 'api-tls', leaf);
  const client = await makeDevCertificate({ dnsNames: [EU_NAME], now: Date.now() / 1000, lifetimeSeconds: 86_400 });
  const directory = join(home.plane.directory, 'signer');
  mkdirSync(directory);
  writeFileSync(join(directory, 'eu.crt'), client.certificate);
  writeFileSync(join(directory, 'eu.key'), client.key, { mode: 0o600 });
  const signerCable = stack.use(await Cable.to(Number(new URL(home.plane.url).port)));
  const kubeconfig = await kubeconfigThrough(home, signerCable, directory);
  const config = await configOf(home);
  const signer = stack.use(await startSigner({ kubeconfig, config, directory, clientCa: client.authority }));
  const token = join(directory, 'token');
  // An hour, the default, may be over before the tests are.
  const lasting = ['--audience=dcred-signer', '--duration=24h'];
  const minted = await home.plane.kubectl(['create', 'token', 'dcred', '-n', SYSTEM, ...lasting]);
  writeFileSync(token, minted.stdout, { mode: 0o600 });
  const held = stack.move();
  return { home, signer, signerCable, token, directory, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

/** The configuration that the chart made, with a client of another cluster. */
async function configOf({ plane }: Cluster): Promise<object> {
  const output = 'jsonpath={.data.signer\\.yaml}';
  const { stdout } = await plane.kubectl(['get', 'configmap', 'dcred-signer', '-n', SYSTEM, '-o', output]);
  const config = load(stdout) as { clients: object[] };
  return { ...config, clients: [...config.clients, { name: 'eu-west', cluster: 'eu-west', tlsName: EU_NAME }] };
}

/** For the signer's account, by way of the cable. */
async function kubeconfigThrough({ plane }: Cluster, cable: Cable, directory: string): Promise<string> {
  const direct = await plane.kubeconfigFor({ serviceAccount: { namespace: SYSTEM, name: 'dcred-signer' } });
  const path = join(directory, 'kubeconfig');
  const text = readFileSync(direct, 'utf8').replace(plane.url, `https://127.0.0.1:${cable.port}`);
  writeFileSync(path, text, { mode: 0o600 });
  return path;
}
