/** cert-manager's own CRDs, from its Go module. */
import { join } from 'node:path';
import { run } from '../support/processes.ts';

const MODULE = 'github.com/cert-manager/cert-manager';
const DOWNLOAD_TIMEOUT_MS = 300_000;

export type CertManagerCrds =
  | { readonly available: true; readonly folder: string }
  | { readonly available: false; readonly reason: string };

/** Downloads the module where needed; or says why that is not possible. */
export async function findCertManagerCrds(): Promise<CertManagerCrds> {
  const options = {
    cwd: import.meta.dirname,
    env: { ...process.env, GOWORK: 'off' },
    timeoutMs: DOWNLOAD_TIMEOUT_MS,
  };
  try {
    const { stdout } = await run('go', ['mod', 'download', '-json', MODULE], options);
    const { Dir: folder } = JSON.parse(stdout) as { readonly Dir: string };
    return { available: true, folder: join(folder, 'deploy', 'crds') };
  } catch (error) {
    return {
      available: false,
      reason: `cert-manager's Go module: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
}
