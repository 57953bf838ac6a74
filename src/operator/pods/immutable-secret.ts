/** A Secret that cannot be replaced in place: what to tell its owner. */
import type { IssuedSecret } from '../../issued-secret/issued-secret.ts';
import { type ApiError, isApiError } from '../../kubernetes/api-error.ts';
import { printableList } from '../../text/printable.ts';
import { PodFailure } from '../pod-failure.ts';

/** Named in a message: whoever may write the Secret may give it ten thousand. */
const MAX_FINALIZERS = 5;

export function heldByFinalizer({ finalizers = [], name }: IssuedSecret, cause: unknown): PodFailure {
  const held = printableList(finalizers, { maxItems: MAX_FINALIZERS });
  return new PodFailure(
    'SecretRefused',
    `Secret "${name}" is immutable and cannot be re-created while it has the finalizers ${held}: remove them, ` +
      'and dcred replaces the Secret',
    { cause },
  );
}

/** The chart's admission policy lets dcred delete Secrets of its own type only: one of another type is somebody else's. */
export function notReplaceable({ name }: IssuedSecret, { message }: PodFailure): PodFailure {
  return new PodFailure(
    'SecretNameTaken',
    `Secret "${name}" is immutable or of another type than dcred's, and dcred may not delete it: delete it, and the credential is ` +
      `issued under that name (${message})`,
  );
}

export function isImmutable(error: unknown): boolean {
  return isApiError(error, 'Invalid') && /field is immutable/.test((error as ApiError).message);
}
