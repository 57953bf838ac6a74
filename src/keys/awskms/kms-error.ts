/** What an error of AWS KMS or its SDK means for whoever wants a signature. Pure. By name: messages of a service are not repeated. */
import { printable } from '../../text/printable.ts';
import { KeyError, type KeyErrorCode } from '../key-error.ts';

const MEANINGS: Readonly<Record<string, readonly [KeyErrorCode, string]>> = {
  NotFoundException: ['KeyNotFound', 'KMS has no such key in this account and region'],
  InvalidArnException: ['KeyNotFound', 'KMS has no such key in this account and region'],
  DisabledException: ['KeyUnusable', 'the key is disabled: enable it (aws kms enable-key)'],
  KMSInvalidStateException: ['KeyUnusable', 'the key is disabled or about to be deleted (aws kms describe-key)'],
  InvalidKeyUsageException: ['KeyUnusable', 'the key is not for signing: expected key usage SIGN_VERIFY'],
  UnsupportedOperationException: [
    'KeyUnusable',
    'the key is not asymmetric: expected key spec ECC_NIST_P256, P384 or P521',
  ],
  IncorrectKeyException: ['KeyUnusable', 'the key is not for this algorithm'],
  AccessDeniedException: [
    'KeyDenied',
    'permission denied: allow kms:GetPublicKey and kms:Sign on the key to this role',
  ],
  AccessDenied: ['KeyDenied', 'the role may not be assumed with this token: check its trust policy'],
  InvalidIdentityToken: [
    'KeyDenied',
    'the web identity token was refused: check the identity provider and its audience',
  ],
  ExpiredTokenException: ['KeyDenied', 'the AWS credentials have expired'],
  UnrecognizedClientException: ['KeyDenied', 'the AWS credentials are not valid'],
  InvalidClientTokenId: ['KeyDenied', 'the AWS credentials are not valid'],
  InvalidSignatureException: ['KeyDenied', "the AWS credentials are not valid, or this machine's clock is wrong"],
  SignatureDoesNotMatch: ['KeyDenied', "the AWS credentials are not valid, or this machine's clock is wrong"],
};

/** Throttling, faults of the service and of the network: everything else that has one of these or a 5xx status is tried again. */
const TRANSIENT =
  /Throttl|TooManyRequests|LimitExceeded|Timeout|Unavailable|Internal|RequestCanceled|^E[A-Z]+$|socket|network/i;

/** Whether other credentials may be accepted. */
export function areExpired(error: unknown): boolean {
  return error instanceof Error && error.name === 'ExpiredTokenException';
}

export function kmsError(what: string, error: unknown): KeyError {
  if (error instanceof KeyError) return error;
  const {
    $metadata,
    code,
    name = 'Error',
  } = (error ?? {}) as {
    readonly name?: string;
    readonly code?: unknown;
    readonly $metadata?: { readonly httpStatusCode?: number };
  };
  const label = printable(name === 'Error' && typeof code === 'string' ? code : name, 60);
  const meaning = Object.hasOwn(MEANINGS, name) ? MEANINGS[name] : undefined;
  if (meaning !== undefined) return new KeyError(meaning[0], `failed to ${what}: ${meaning[1]} (${label})`);
  const status = $metadata?.httpStatusCode;
  if (status === undefined || status >= 500 || status === 429 || TRANSIENT.test(label)) {
    return new KeyError('KeyUnavailable', `failed to ${what}: KMS failed to answer (${label})`);
  }
  return new KeyError('KeyUnusable', `failed to ${what}: KMS refused the call (${label}, HTTP ${status})`);
}
