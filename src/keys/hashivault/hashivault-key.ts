/** A key in the transit engine of Vault or OpenBao. Of its versions the one is used that the certificate was made for. */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import * as z from 'zod/mini';
import { type SignatureScheme, schemeBySubjectPublicKeyInfo } from '../../credential/scheme.ts';
import { untilAborted } from '../../kubernetes/deadline.ts';
import { KeyError } from '../key-error.ts';
import type { HashiVaultKeyUri } from '../key-uri.ts';
import type { OpenRequest, RemoteKey } from '../remote-key.ts';
import { type VaultCall, VaultClient } from './vault-client.ts';
import { readVaultSettings, type VaultSettings } from './vault-settings.ts';
import { VaultToken } from './vault-token.ts';

export interface HashiVaultRequest extends OpenRequest {
  readonly uri: HashiVaultKeyUri;
}

const keyAnswer = z.object({
  data: z.object({
    type: z.string(),
    keys: z.record(z.string(), z.unknown()),
    latest_version: z.number(),
  }),
});
const keyVersion = z.object({ public_key: z.string().check(z.maxLength(2_000)) });
const signAnswer = z.object({ data: z.object({ signature: z.string().check(z.maxLength(1_000)) }) });
const SIGNATURE = /^vault:v([0-9]{1,9}):([A-Za-z0-9+/]{1,400}={0,2})$/;

interface Version {
  readonly number: number;
  readonly publicKey: KeyObject;
  readonly scheme: SignatureScheme;
}

export class HashiVaultKey implements RemoteKey {
  readonly #client: VaultClient;
  readonly #token: VaultToken;
  readonly #settings: VaultSettings;
  readonly #keyName: string;
  #version: Version | undefined;
  /**
   * Never changes: each call names the version of the key, and each signature is verified. A Vault that is briefly overloaded or sealed, or an
   * expired token, does not change the key: proving it again would only add a call to a busy service.
   */
  readonly connection = 1;

  /** Throws KeyError, or the signal's reason. */
  static async open({ clock, env, publicKey, signal, uri }: HashiVaultRequest): Promise<HashiVaultKey> {
    const settings = readVaultSettings(env);
    const client = await VaultClient.create(settings, clock);
    const key = new HashiVaultKey(client, new VaultToken(client, settings.login, clock), settings, uri.keyName);
    try {
      await key.#find(publicKey, signal);
      return key;
    } catch (error) {
      await key.close();
      throw error;
    }
  }

  private constructor(client: VaultClient, token: VaultToken, settings: VaultSettings, keyName: string) {
    this.#client = client;
    this.#token = token;
    this.#settings = settings;
    this.#keyName = keyName;
  }

  get publicKey(): KeyObject {
    return this.#found.publicKey;
  }

  get scheme(): SignatureScheme {
    return this.#found.scheme;
  }

  async sign(message: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const { number, scheme } = this.#found;
    const hash = scheme.hash ?? 'sha256';
    const body = {
      input: createHash(hash).update(message).digest('base64'),
      prehashed: true,
      hash_algorithm: hash.replace('sha', 'sha2-'),
      marshaling_algorithm: 'asn1',
      key_version: number,
    };
    const answer = await this.#call({
      method: 'POST',
      path: `${this.#settings.mount}/sign/${this.#keyName}`,
      body,
      what: 'sign',
      signal,
    });
    const parsed = signAnswer.safeParse(answer);
    const [, version, signature] = SIGNATURE.exec(parsed.success ? parsed.data.data.signature : '') ?? [];
    if (signature !== undefined && Number(version) === number) return Uint8Array.from(Buffer.from(signature, 'base64'));
    throw new KeyError('KeyUnavailable', `Vault's answer has no signature by version ${number} of the key`);
  }

  async close(): Promise<void> {
    await this.#token.close();
    await this.#client.close();
  }

  get #found(): Version {
    if (this.#version === undefined) throw new TypeError('the key is not open');
    return this.#version;
  }

  async #find(publicKey: KeyObject | undefined, signal: AbortSignal): Promise<void> {
    const path = `${this.#settings.mount}/keys/${this.#keyName}`;
    const parsed = keyAnswer.safeParse(await this.#call({ method: 'GET', path, what: 'read the public key', signal }));
    if (!parsed.success) throw new KeyError('KeyUnavailable', "Vault's answer is not a key of the transit engine");
    const { keys, latest_version: latest, type } = parsed.data.data;
    const versions = Object.entries(keys).flatMap(([number, value]) => readVersion(Number(number), value));
    if (versions.length === 0) {
      throw new KeyError(
        'KeyUnusable',
        `expected a key of type ecdsa-p256, ecdsa-p384 or ecdsa-p521: browsers refuse credentials by others; found ${/^[a-z0-9-]{1,40}$/.test(type) ? type : 'another type'}`,
      );
    }
    this.#version = versions.find(({ number, publicKey: one }) =>
      publicKey === undefined ? number === latest : one.equals(publicKey),
    );
    if (this.#version === undefined) {
      throw new KeyError('KeyMismatch', `none of the ${versions.length} versions of the key is the certificate's`);
    }
  }

  /** With a token; once more with another where Vault refuses it. */
  async #call(call: Omit<VaultCall, 'token'>): Promise<unknown> {
    const token = await this.#token.get(call.signal);
    try {
      return await this.#client.call({ ...call, token });
    } catch (error) {
      if (!(error instanceof KeyError)) throw error;
      if (error.code !== 'KeyDenied') throw error;
      if (!(await untilAborted(this.#token.discard(token), call.signal))) throw error;
    }
    return await this.#client.call({ ...call, token: await this.#token.get(call.signal) });
  }
}

function readVersion(number: number, value: unknown): readonly Version[] {
  const parsed = keyVersion.safeParse(value);
  if (!parsed.success || !Number.isSafeInteger(number)) return [];
  try {
    const publicKey = createPublicKey(parsed.data.public_key);
    const scheme = schemeBySubjectPublicKeyInfo(publicKey.export({ format: 'der', type: 'spki' }));
    return scheme?.delegates === true ? [{ number, publicKey, scheme }] : [];
  } catch {
    return [];
  }
}
