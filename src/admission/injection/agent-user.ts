/** The user that the reload agent runs as: a process may signal only those of its own user. Pure. */
import type { ReloadSpec } from '../../api/reload-spec.ts';
import { type AdmittedPod, type Container, containersOf } from './pod.ts';
import { quoted } from './warning.ts';

/** `user` undefined: nothing in the pod says it. `conflict`: what disagrees, for a warning. */
export interface ServerUser {
  readonly user: number | undefined;
  readonly conflict?: string;
}

/**
 * The effective user of the server's container: its own, else the pod's. That container is the one named as the process, else one
 * of those in `dcred.dev/containers`, else any.
 * @param narrowed names in `dcred.dev/containers`; undefined: all
 */
export function serverUser(
  { spec }: AdmittedPod,
  reloads: readonly ReloadSpec[],
  narrowed: ReadonlySet<string> | undefined,
): ServerUser {
  const podUser = spec.securityContext?.runAsUser ?? undefined;
  const users = new Map<number | undefined, string>();
  for (const reload of reloads) {
    if (reload.kind !== 'signal') continue;
    for (const { name, securityContext } of candidates(spec, reload, narrowed)) {
      const user = securityContext?.runAsUser ?? podUser;
      if (!users.has(user)) users.set(user, name);
    }
  }
  if (users.size <= 1) return { user: [...users.keys()][0] };
  const all = [...users].slice(0, 3).map(([user, name]) => `${quoted(name)} as ${user ?? 'its image says'}`);
  return { user: [...users.keys()].find((user) => user !== undefined), conflict: all.join(', ') };
}

function candidates(
  spec: AdmittedPod['spec'],
  { process: server }: Extract<ReloadSpec, { kind: 'signal' }>,
  narrowed: ReadonlySet<string> | undefined,
): readonly Container[] {
  const all = containersOf(spec);
  const named = server.kind === 'name' ? all.filter(({ name }) => name === server.name) : [];
  if (named.length > 0) return named;
  const chosen = all.filter(({ name }) => narrowed?.has(name));
  return chosen.length > 0 ? chosen : (spec.containers ?? []);
}
