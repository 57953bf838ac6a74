/** Opens keys by their URIs. A backend is loaded when a URI names it, and not before. */
import { randomInt } from 'node:crypto';
import type { Certificate } from '../credential/certificate.ts';
import type { Clock } from '../kubernetes/clock.ts';
import { GuardedKey, type KeyResult } from './guarded-key.ts';
import { describeKeyUri, type KeyUri } from './key-uri.ts';
import { Logins } from './pkcs11/logins.ts';
import type { OpenRequest, RemoteKey } from './remote-key.ts';

/** A `file:` URI is a path: whoever reads files reads it. */
export type RemoteKeyUri = Exclude<KeyUri, { readonly scheme: 'file' }>;
export type KeyBackend = RemoteKeyUri['scheme'];

export interface KeyOpenerOptions {
  /** Where each backend's own tools find its address and credentials too. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** Every attempt to sign. */
  readonly observe?: (backend: KeyBackend, result: KeyResult, seconds: number) => void;
}

export class KeyOpener {
  readonly #options: KeyOpenerOptions;
  readonly #logins = new Logins();

  constructor(options: KeyOpenerOptions) {
    this.#options = options;
  }

  /** The key, proved to be the certificate's. Throws KeyError, or the signal's reason. */
  async open(
    uri: RemoteKeyUri,
    certificate: Pick<Certificate, 'keyAlgorithm' | 'publicKey' | 'subject'> | undefined,
    signal: AbortSignal,
  ): Promise<GuardedKey> {
    const { clock, env, observe } = this.#options;
    const key = await this.#openRemote(uri, { publicKey: certificate?.publicKey, env, clock, signal });
    try {
      const guarded = new GuardedKey({
        key,
        name: describeKeyUri(uri),
        certificate,
        clock,
        random: () => randomInt(1 << 24) / (1 << 24),
        observe: (result, seconds) => observe?.(uri.scheme, result, seconds),
      });
      await guarded.prove(signal);
      return guarded;
    } catch (error) {
      await key.close();
      throw error;
    }
  }

  async #openRemote(uri: RemoteKeyUri, request: OpenRequest): Promise<RemoteKey> {
    switch (uri.scheme) {
      case 'pkcs11': {
        const { Pkcs11Key } = await import('./pkcs11/pkcs11-key.ts');
        return await Pkcs11Key.open({ ...request, uri, logins: this.#logins });
      }
      case 'awskms': {
        const { AwsKmsKey } = await import('./awskms/aws-kms-key.ts');
        return await AwsKmsKey.open({ ...request, uri });
      }
      case 'hashivault': {
        const { HashiVaultKey } = await import('./hashivault/hashivault-key.ts');
        return await HashiVaultKey.open({ ...request, uri });
      }
    }
  }
}
