/** `--key`: a file, or a key URI. */
import type { KeyObject } from 'node:crypto';
import type { Certificate } from '../../credential/certificate.ts';
import type { Signer } from '../../credential/signer.ts';
import type { RemoteKeyUri } from '../../keys/key-opener.ts';
import { looksLikeKeyUri, parseKeyUri } from '../../keys/key-uri.ts';
import { KeyUriError } from '../../keys/percent-decode.ts';
import { systemClock } from '../../kubernetes/clock.ts';
import { type CommandIo, UsageError } from '../command.ts';

export const KEY_VALUE = 'KEY';
export const KEY_URI_HELP = 'a file or a key URI (pkcs11:, awskms://, hashivault://)';

export type KeyOption = { readonly path: string } | { readonly uri: RemoteKeyUri };

/** Throws UsageError for a URI that cannot be read. */
export function readKeyOption(text: string): KeyOption {
  if (!looksLikeKeyUri(text)) return { path: text };
  try {
    const uri = parseKeyUri(text);
    return uri.scheme === 'file' ? { path: uri.path } : { uri };
  } catch (error) {
    if (error instanceof KeyUriError) throw new UsageError(`--key: ${error.message}`, { cause: error });
    throw error;
  }
}

export interface OpenKey extends Signer {
  readonly publicKey: KeyObject;
}

/** Opens the key for as long as `work` takes. Throws KeyError. */
export async function withRemoteKey<T>(
  uri: RemoteKeyUri,
  certificate: Pick<Certificate, 'keyAlgorithm' | 'publicKey' | 'subject'> | undefined,
  io: Pick<CommandIo, 'env' | 'signal'>,
  work: (key: OpenKey) => Promise<T>,
): Promise<T> {
  const { KeyOpener } = await import('../../keys/key-opener.ts');
  const key = await new KeyOpener({ env: io.env, clock: systemClock }).open(uri, certificate, io.signal);
  try {
    return await work(key);
  } finally {
    await key.close();
  }
}
