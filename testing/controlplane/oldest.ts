/** The API server of the oldest Kubernetes that dcred supports. It takes minutes to build and is rarely needed: its tests are opt-in. */
import { join } from 'node:path';
import { kubernetesFlags } from './binaries.ts';
import { type EnsureOptions, ensureBuilt, type GoModule } from './go-module.ts';

const OLDEST: GoModule<'kube-apiserver'> = {
  name: 'oldest',
  directory: join(import.meta.dirname, 'oldest'),
  packages: { 'kube-apiserver': 'k8s.io/kubernetes/cmd/kube-apiserver' },
  flags: kubernetesFlags,
  instead: '',
};

/** Its path, for the option `apiServer` of `startControlPlane`; built first where it is missing. Throws BinariesError. */
export async function ensureOldestApiServer(options: EnsureOptions = {}): Promise<string> {
  return join(await ensureBuilt(OLDEST, ['kube-apiserver'], options), 'kube-apiserver');
}
