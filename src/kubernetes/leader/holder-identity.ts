/** Who holds a lease. Pure. */

export interface HolderIdentityInput {
  /** The pod's or the host's name, for people. */
  readonly instance: string;
  /** `metadata.uid` of the pod that this process runs in, by the downward API; undefined elsewhere. */
  readonly podUid: string | undefined;
  readonly pid: number;
  /** Unique: a random UUID. */
  readonly unique: () => string;
}

/**
 * The pod's own name and UID where this process is its container's first one, so that a container that is restarted finds the lease
 * its own and need not wait for it to expire; unique to the process otherwise.
 *
 * Safe, because two processes never have the same identity at once: a UID belongs to one pod, kubelet starts a container again only
 * after its last first process has ended, and what is run beside it (`kubectl exec`) has another process id. A request that the
 * ended process had sent may still arrive; it names the version it is based on, like every write of two leaders at once.
 */
export function holderIdentity({ instance, podUid, pid, unique }: HolderIdentityInput): string {
  return podUid !== undefined && podUid !== '' && pid === 1 ? `${instance}_${podUid}` : `${instance}_${unique()}`;
}
