/**
 * Secrets that somebody else may have written under dcred's own field manager: field ownership does not tell (ADR 1), but the time of
 * the write does. Such a Secret is read once, whole, and verified; where it holds what it should, that was all.
 */
import type { IssuedSecret } from '../../issued-secret/issued-secret.ts';

/** Between the operator's time of issue and the API server's time of the write, where nothing else happened since. */
const TOLERANCE_SECONDS = 60;

export class SuspectWrites {
  /** Secret uid to the version that nobody has verified. */
  readonly #suspects = new Map<string, string>();

  /**
   * The cache shows a Secret, new or changed.
   * @param ownVersion of our own last write of it, where the cache had not shown that yet
   */
  seen(current: IssuedSecret, previous: IssuedSecret | undefined, ownVersion: string | undefined): void {
    const { facts, resourceVersion, uid, writtenAt } = current;
    if (resourceVersion === ownVersion || writtenAt === undefined || facts === undefined) {
      this.#suspects.delete(uid);
      return;
    }
    // Times have whole seconds: of a change that is seen as it happens, it is enough that it was not ours.
    const isWritten = previous?.uid === uid || Math.abs(writtenAt - facts.issuedAt) > TOLERANCE_SECONDS;
    if (isWritten) this.#suspects.set(uid, resourceVersion);
  }

  gone(uid: string): void {
    this.#suspects.delete(uid);
  }

  has({ resourceVersion, uid }: IssuedSecret): boolean {
    return this.#suspects.get(uid) === resourceVersion;
  }

  /** We wrote, or verified, this version. */
  cleared(uid: string, resourceVersion: string | undefined): void {
    if (this.#suspects.get(uid) === resourceVersion) this.#suspects.delete(uid);
  }

  get size(): number {
    return this.#suspects.size;
  }
}
