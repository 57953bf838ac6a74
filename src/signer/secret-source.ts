/** Reads certificate Secrets by their names, so that the signer's account needs `get` on just these. */
import { PEM_LIMITS } from '../credential/certificate.ts';
import { isApiError } from '../kubernetes/api-error.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
import { SECRETS } from '../kubernetes/resource-type.ts';
import type { CertificatePair } from './certificate-source.ts';
import { splitCertificateName } from './config.ts';

type Secret = KubernetesObject<{ readonly data?: Readonly<Record<string, string>> }>;

/** Base64 takes four characters for three bytes, and may hold a line break here and there. */
const MAX_ENCODED_LENGTH = Math.ceil(PEM_LIMITS.maxBytes * 1.4);

/** No certificate can be read from a Secret. */
class CertificateSecretError extends Error {
  override readonly name = 'CertificateSecretError';
  readonly code = 'CertificateSecret';
}

/** Throws CertificateSecretError, or the API server's error. */
export async function readCertificateSecret(
  client: Pick<ApiClient, 'get'>,
  certificate: string,
  signal: AbortSignal,
): Promise<CertificatePair> {
  const ref = splitCertificateName(certificate);
  if (ref === undefined)
    throw new CertificateSecretError(`expected NAMESPACE/NAME of a Secret, found "${certificate}"`);
  const { data = {} } = await client.get<Secret>(SECRETS, ref, { signal }).catch((error: unknown) => {
    throw isApiError(error, 'NotFound') ? new CertificateSecretError('there is no such Secret: create it') : error;
  });
  return { chainPem: decode(data, 'tls.crt'), keyPem: decode(data, 'tls.key') };
}

function decode(data: Readonly<Record<string, string>>, entry: string): string {
  const encoded = data[entry] ?? '';
  if (encoded === '')
    throw new CertificateSecretError(`the Secret has no ${entry}: it needs tls.crt and tls.key, both PEM`);
  if (encoded.length <= MAX_ENCODED_LENGTH) return Buffer.from(encoded, 'base64').toString();
  throw new CertificateSecretError(`${entry} is larger than ${PEM_LIMITS.maxBytes} bytes`);
}
