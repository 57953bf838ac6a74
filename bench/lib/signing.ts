/** How benchmarks call `dcred signer`: a client with the token of dcred's account, and a request for one pod. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { systemClock } from '../../src/kubernetes/clock.ts';
import type { SignRequest } from '../../src/signer/protocol.ts';
import { SignerClient } from '../../src/signer-client/signer-client.ts';
import { signerConnection } from '../../src/signer-client/signer-connection.ts';
import type { SignerProcess } from '../../testing/cluster/signer-process.ts';
import type { ControlPlane } from '../../testing/controlplane/control-plane.ts';

const ACCOUNT = { namespace: 'dcred-system', name: 'dcred' } as const;

/** The part of the signer's configuration that lets this client call, at a benchmark's rate. */
export const SIGNER_CLIENTS = {
  clients: [{ name: 'bench', cluster: 'bench', serviceAccount: `${ACCOUNT.namespace}/${ACCOUNT.name}` }],
  ratePerSecond: 1_000_000,
} as const;

/** Writes the account's token into the directory. The caller closes the client. */
export async function signingClient(
  { caFile, url }: Pick<SignerProcess, 'caFile' | 'url'>,
  plane: Pick<ControlPlane, 'kubectl'>,
  directory: string,
): Promise<{ readonly client: SignerClient; readonly tokenFile: string }> {
  const tokenFile = join(directory, 'token');
  const minted = ['create', 'token', ACCOUNT.name, '-n', ACCOUNT.namespace, '--audience=dcred-signer'];
  await writeFile(tokenFile, (await plane.kubectl(minted)).stdout, { mode: 0o600 });
  const connection = await signerConnection({ url, caFile, tokenFile, clock: systemClock });
  return { client: new SignerClient({ connection, userAgent: 'bench', clock: systemClock }), tokenFile };
}

/** A request for a credential of an hour, with a new key. */
export async function signRequest(certificate: string, namespace: string): Promise<SignRequest> {
  const { subjectPublicKeyInfo } = await generateCredentialKey('ECDSAP256');
  return {
    certificate,
    usage: 'Server',
    dcCertVerifyAlgorithm: 0x0403,
    subjectPublicKeyInfo,
    expiresAt: Math.floor(Date.now() / 1000) + 3_600,
    namespace,
    resource: 'web',
    podUid: 'bench',
  };
}
