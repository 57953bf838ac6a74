/**
 * Reads certificates from the API server by their names, so that the signer's account needs `get` on just these: Secrets with a
 * certificate and its key, and ConfigMaps with a certificate whose key is kept elsewhere. For the latter the account reads no Secret at all.
 */
import { PEM_LIMITS } from '../credential/certificate.ts';
import { isMissing } from '../kubernetes/api-error.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
import { CONFIG_MAPS, type ResourceType, SECRETS } from '../kubernetes/resource-type.ts';
import type { CertificatePair } from './certificate-source.ts';
import { splitCertificateName } from './config.ts';

type Data = Readonly<Record<string, string>>;

/** Base64 takes four characters for three bytes, and may hold a line break here and there. */
const MAX_ENCODED_LENGTH = Math.ceil(PEM_LIMITS.maxBytes * 1.4);

/** No certificate can be read from the object. */
class CertificateObjectError extends Error {
  override readonly name = 'CertificateObjectError';
  readonly code = 'CertificateObject';
}

/** Throws CertificateObjectError, or the API server's error. */
export async function fetchCertificateSecret(
  client: Pick<ApiClient, 'get'>,
  certificate: string,
  signal: AbortSignal,
): Promise<CertificatePair> {
  const data = await readData(client, SECRETS, certificate, signal);
  const decode = (entry: string): string => {
    const encoded = data[entry] ?? '';
    if (encoded === '')
      throw new CertificateObjectError(`the Secret has no ${entry}: it needs tls.crt and tls.key, both PEM`);
    if (encoded.length <= MAX_ENCODED_LENGTH) return Buffer.from(encoded, 'base64').toString();
    throw new CertificateObjectError(`${entry} is larger than ${PEM_LIMITS.maxBytes} bytes`);
  };
  return { chainPem: decode('tls.crt'), keyPem: decode('tls.key') };
}

/** The chain in `tls.crt`. Throws as `readCertificateSecret`. */
export async function readCertificateConfigMap(
  client: Pick<ApiClient, 'get'>,
  certificate: string,
  signal: AbortSignal,
): Promise<string> {
  const { 'tls.crt': chainPem = '' } = await readData(client, CONFIG_MAPS, certificate, signal);
  if (chainPem === '')
    throw new CertificateObjectError('the ConfigMap has no tls.crt: it needs the certificate in PEM');
  if (chainPem.length <= PEM_LIMITS.maxBytes) return chainPem;
  throw new CertificateObjectError(`tls.crt is larger than ${PEM_LIMITS.maxBytes} bytes`);
}

async function readData(
  client: Pick<ApiClient, 'get'>,
  type: ResourceType,
  certificate: string,
  signal: AbortSignal,
): Promise<Data> {
  const ref = splitCertificateName(certificate);
  if (ref === undefined)
    throw new CertificateObjectError(`expected NAMESPACE/NAME of a ${type.kind}, found "${certificate}"`);
  const { data = {} } = await client
    .get<KubernetesObject<{ readonly data?: Data }>>(type, ref, { signal })
    .catch((error: unknown) => {
      throw isMissing(error) ? new CertificateObjectError(`there is no such ${type.kind}: create it`) : error;
    });
  return data;
}
