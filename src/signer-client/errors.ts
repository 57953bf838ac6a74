/** Why the signer gave no credential. */
import { ApiError } from '../kubernetes/api-error.ts';
import type { RefusalReason } from '../signer/protocol.ts';

/** It did not answer, or turned the whole call away. Whether anything was signed is unknown; a second signature does no harm. */
export class SignerUnavailableError extends Error {
  override readonly name = 'SignerUnavailableError';
  readonly code = 'SignerUnavailable';

  constructor(server: string, cause: unknown) {
    super(explain(server, cause), { cause });
  }
}

/** It answered, and refuses this one credential. `CertificateOutdated`: it signs with another leaf than the caller has. */
export class SigningRefusedError extends Error {
  override readonly name = 'SigningRefusedError';
  readonly code: RefusalReason | 'CertificateOutdated';

  constructor(code: SigningRefusedError['code'], message: string) {
    super(message);
    this.code = code;
  }

  /** It passes without a person, or the news that settle it are on their way. */
  get transient(): boolean {
    return this.code !== 'NotPermitted' && this.code !== 'PublicKeyUnsupported';
  }
}

function explain(server: string, cause: unknown): string {
  const said = cause instanceof Error ? cause.message : String(cause);
  if (!(cause instanceof ApiError) || cause.status === 0) return `the signer at ${server} does not answer (${said})`;
  if (cause.status === 401)
    return `the signer at ${server} does not accept this client's certificate or token (${said})`;
  if (cause.status === 404) return `the signer at ${server} does not serve this call: check the address (${said})`;
  if (cause.status === 429) return `the signer at ${server} is overloaded (${said})`;
  return `the signer at ${server} answers with an error (${said})`;
}
