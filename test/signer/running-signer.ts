/** A signer in this process, on its own port, with three clients: one with a certificate, two with tokens. */
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { exportJWK, type JWTHeaderParameters, SignJWT } from 'jose';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { systemClock } from '../../src/kubernetes/clock.ts';
import { makeDevCertificate } from '../../src/provision/dev-authority.ts';
import { parseSignerConfig } from '../../src/signer/config.ts';
import { SignerMetrics } from '../../src/signer/metrics.ts';
import { formatSignCall, type SignRequest, type SignResult } from '../../src/signer/protocol.ts';
import { SignerProcess } from '../../src/signer/signer.ts';
import { leaf } from '../../testing/support/openssl.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';
import { temporaryDirectory } from '../cli/run-command.ts';
import { type HttpsAnswer, httpsCall } from './https-call.ts';

export const ISSUER = 'https://issuer.us-east.example';
const web = leaf();
/** After the certificate was made: it is valid by then. */
export const NOW = Math.floor(Date.now() / 1000);
export const serving = await makeDevCertificate({
  dnsNames: ['signer.vault.svc', 'localhost'],
  now: NOW,
  lifetimeSeconds: 86_400,
});
export const operator = await makeDevCertificate({ dnsNames: ['operator.eu'], now: NOW, lifetimeSeconds: 86_400 });
export const certificate = readDelegationCertificate(web.certificatePem);
export const key = await generateCredentialKey('ECDSAP256');
export const tokens = generateKeyPairSync('ec', { namedCurve: 'P-256' });

export const CONFIG = {
  clients: [
    { name: 'eu', cluster: 'eu', tlsName: 'operator.eu' },
    { name: 'us', cluster: 'us', serviceAccount: 'dcred-system/dcred', issuer: ISSUER },
    { name: 'here', cluster: 'here', serviceAccount: 'dcred-system/dcred' },
  ],
  issuers: [{ url: ISSUER, jwksFile: 'not read here' }],
  certificates: [{ name: 'vault/web-tls', directory: 'replaced below' }],
  grants: [
    { certificate: 'vault/web-tls', from: [{ cluster: 'eu', namespace: 'edge' }], maxLifetimeSeconds: 7_200 },
    { certificate: 'vault/web-tls', from: [{ cluster: 'us' }, { cluster: 'here' }] },
  ],
};

export const ask = (change: Partial<SignRequest> = {}): SignRequest => ({
  certificate: 'vault/web-tls',
  usage: 'Server',
  dcCertVerifyAlgorithm: 0x0403,
  subjectPublicKeyInfo: key.subjectPublicKeyInfo,
  expiresAt: Math.floor(Date.now() / 1000) + 3_600,
  namespace: 'edge',
  resource: 'web',
  podUid: 'uid-1',
  ...change,
});

interface Started {
  readonly port: number;
  readonly auditLog: string;
  readonly metrics: SignerMetrics;
  readonly signer: SignerProcess;
}

/** Not listening yet. `change` may replace its one certificate, which is usable. */
export async function create(
  t: TestContext,
  change: object = {},
  clientCaPem = operator.authority,
  client?: ApiClient,
): Promise<Omit<Started, 'port'>> {
  const folder = temporaryDirectory(t);
  const directory = join(folder, 'web-tls');
  mkdirSync(directory);
  writeFileSync(join(directory, 'tls.crt'), web.certificatePem);
  writeFileSync(join(directory, 'tls.key'), web.keyPem);
  const auditLog = join(folder, 'audit.jsonl');
  const metrics = new SignerMetrics('test');
  const signer = await SignerProcess.create({
    address: { host: '127.0.0.1', port: 0 },
    tls: { certificatePem: serving.certificate, keyPem: serving.key, clientCaPem },
    config: parseSignerConfig({ ...CONFIG, certificates: [{ name: 'vault/web-tls', directory }], ...change }),
    env: {},
    keySets: new Map([[ISSUER, { keys: [{ ...(await exportJWK(tokens.publicKey)), alg: 'ES256', kid: 'one' }] }]]),
    // A fake of the API server's answer; signer-process.test.ts has the real one.
    reviewToken: async (token) => (token === 'good' ? 'system:serviceaccount:dcred-system:dcred' : undefined),
    client,
    auditLog,
    metrics,
    clock: systemClock,
    log: recordingLogger(),
  });
  t.after(() => signer.close());
  return { auditLog, metrics, signer };
}

export async function start(t: TestContext, change: object = {}, clientCaPem = operator.authority): Promise<Started> {
  const created = await create(t, change, clientCaPem);
  await created.signer.listen(new AbortController().signal);
  return { ...created, port: created.signer.port };
}

export interface Caller {
  readonly cert?: string;
  readonly key?: string;
  readonly token?: string;
}
export const EU: Caller = { cert: operator.certificate, key: operator.key };

interface SignerAnswer extends HttpsAnswer {
  readonly body: { readonly results?: readonly SignResult[]; readonly message?: string; readonly chainPem?: string };
}

export async function call(port: number, caller: Caller, path: string, body?: string): Promise<SignerAnswer> {
  const { token: bearer, ...tls } = caller;
  const headers = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` };
  const server = { port, path, servername: 'signer.vault.svc', ca: serving.authority };
  return (await httpsCall({ ...server, headers, ...tls }, body)) as SignerAnswer;
}

export function sign(port: number, caller: Caller, ...requests: readonly SignRequest[]): Promise<SignerAnswer> {
  return call(port, caller, '/v1/sign', formatSignCall(requests));
}

export function token(
  claims: Record<string, unknown> = {},
  algorithmKey = tokens.privateKey,
  header: Partial<JWTHeaderParameters> = {},
): Promise<string> {
  const all = { iss: ISSUER, sub: 'system:serviceaccount:dcred-system:dcred', aud: 'dcred-signer', exp: NOW + 3_600 };
  return new SignJWT({ ...all, ...claims }).setProtectedHeader({ alg: 'ES256', ...header }).sign(algorithmKey);
}
