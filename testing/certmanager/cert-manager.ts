/** cert-manager's own CRDs, from its Go module, and its own controllers, built from it (three minutes of CPU, once). */
import { join } from 'node:path';
import { BinariesError, builtBinaries, ensureBuilt, type GoModule } from '../controlplane/go-module.ts';
import { Guardian } from '../support/guardian.ts';
import { run } from '../support/processes.ts';

const MODULE = 'github.com/cert-manager/cert-manager';
const DOWNLOAD_TIMEOUT_MS = 300_000;

export type CertManagerCrds =
  | { readonly available: true; readonly folder: string }
  | { readonly available: false; readonly reason: string };

/** Downloads the module where needed, or says why that is not possible. */
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

const CONTROLLERS: GoModule<'certmanager'> = {
  name: 'certmanager',
  directory: import.meta.dirname,
  packages: { certmanager: '.' },
  sources: ['main.go'],
  flags: () => ['-ldflags', '-s -w'],
  instead: '',
};

export interface CertManager extends AsyncDisposable {
  logTail(): Promise<string>;
}

export type FoundCertManager =
  | { readonly available: true; readonly start: (kubeconfig: string) => Promise<CertManager> }
  | { readonly available: false; readonly reason: string };

/** Built only with DCRED_CERT_MANAGER=1, and used wherever they were built before. */
export async function findCertManager(): Promise<FoundCertManager> {
  const { env } = process;
  const isBuilt = (await builtBinaries(CONTROLLERS, ['certmanager'], env)).length > 0;
  if (!isBuilt && env['DCRED_CERT_MANAGER'] !== '1') {
    return { available: false, reason: "set DCRED_CERT_MANAGER=1: the first run builds cert-manager's controllers" };
  }
  try {
    const binary = join(await ensureBuilt(CONTROLLERS, ['certmanager']), 'certmanager');
    return { available: true, start: (kubeconfig) => start(binary, kubeconfig) };
  } catch (error) {
    if (error instanceof BinariesError) return { available: false, reason: error.message };
    throw error;
  }
}

async function start(binary: string, kubeconfig: string): Promise<CertManager> {
  const guardian = await Guardian.start('certmanager');
  const component = guardian.startComponent({ name: 'certmanager', binary, args: [kubeconfig] });
  return { logTail: () => component.logTail(), [Symbol.asyncDispose]: () => guardian.stop() };
}
