/** A key in AWS KMS. The key that an alias names is looked up once: moving the alias changes nothing until the certificate changes. */
import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import {
  GetPublicKeyCommand,
  KMSClient,
  SignCommand,
  type SignCommandOutput,
  type SigningAlgorithmSpec,
} from '@aws-sdk/client-kms';
import { type SignatureScheme, schemeBySubjectPublicKeyInfo } from '../../credential/scheme.ts';
import type { Clock } from '../../kubernetes/clock.ts';
import { untilAborted } from '../../kubernetes/deadline.ts';
import { KeyError } from '../key-error.ts';
import type { AwsKmsKeyUri } from '../key-uri.ts';
import type { OpenRequest, RemoteKey } from '../remote-key.ts';
import { BoundedHandler } from './bounded-handler.ts';
import { awsCredentials } from './credentials.ts';
import { awsEndpoint } from './endpoint.ts';
import { areExpired, kmsError } from './kms-error.ts';

export interface AwsKmsRequest extends OpenRequest {
  readonly uri: AwsKmsKeyUri;
}

const ALGORITHMS: Readonly<Partial<Record<SignatureScheme['keyAlgorithm'], SigningAlgorithmSpec>>> = {
  ECDSAP256: 'ECDSA_SHA_256',
  ECDSAP384: 'ECDSA_SHA_384',
  ECDSAP521: 'ECDSA_SHA_512',
};

/** KMS hashes up to so much by itself: what it signs is then what it was sent. A leaf with many names makes more. */
const MAX_RAW_BYTES = 4_096;

interface Found {
  readonly keyId: string;
  readonly publicKey: KeyObject;
  readonly scheme: SignatureScheme;
  readonly algorithm: SigningAlgorithmSpec;
}

export class AwsKmsKey implements RemoteKey {
  readonly #client: KMSClient;
  readonly #found: Found;
  /** One for all calls that were refused. */
  #renewing: Promise<unknown> | undefined;
  /**
   * Never changes: KMS calls do not depend on each other, and a key id always names the same key. Proving the key again after throttling or
   * expired credentials would only add a call to a busy service; each signature is verified anyway.
   */
  readonly connection = 1;

  /** Throws KeyError, or the signal's reason. */
  static async open({ clock, env, signal, uri }: AwsKmsRequest): Promise<AwsKmsKey> {
    const client = createClient(uri, env, clock);
    try {
      return new AwsKmsKey(client, await lookUp(client, uri.keyId, signal));
    } catch (error) {
      client.destroy();
      throw error;
    }
  }

  private constructor(client: KMSClient, found: Found) {
    this.#client = client;
    this.#found = found;
  }

  get publicKey(): KeyObject {
    return this.#found.publicKey;
  }

  get scheme(): SignatureScheme {
    return this.#found.scheme;
  }

  async sign(message: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const { algorithm, keyId, scheme } = this.#found;
    const isShort = message.length <= MAX_RAW_BYTES;
    const command = new SignCommand({
      KeyId: keyId,
      Message: isShort
        ? message
        : createHash(scheme.hash ?? 'sha256')
            .update(message)
            .digest(),
      MessageType: isShort ? 'RAW' : 'DIGEST',
      SigningAlgorithm: algorithm,
    });
    try {
      // The SDK's own signal does not reach its wait for credentials.
      const { Signature } = await untilAborted(this.#send(command, signal), signal);
      if (Signature === undefined) throw new KeyError('KeyUnavailable', 'KMS answered without a signature');
      return Signature;
    } catch (error) {
      signal.throwIfAborted();
      throw kmsError('sign', error);
    }
  }

  /** Credentials that expired earlier than they said (a clock that was wrong, a session that was revoked) are fetched again, once. */
  async #send(command: SignCommand, signal: AbortSignal): Promise<SignCommandOutput> {
    try {
      return await this.#client.send(command, { abortSignal: signal });
    } catch (error) {
      signal.throwIfAborted();
      if (!areExpired(error) || !(await this.#renewCredentials())) throw error;
    }
    return await this.#client.send(command, { abortSignal: signal });
  }

  /** False where they are fixed. */
  async #renewCredentials(): Promise<boolean> {
    const { credentials } = this.#client.config;
    if ((await credentials()).expiration === undefined) return false;
    this.#renewing ??= credentials({ forceRefresh: true }).finally(() => {
      this.#renewing = undefined;
    });
    await this.#renewing;
    return true;
  }

  async close(): Promise<void> {
    this.#client.destroy();
  }
}

/** One attempt a call: guarded-key.ts tries again, within a deadline and with a signal. */
function createClient({ endpoint, region: arnRegion }: AwsKmsKeyUri, env: OpenRequest['env'], clock: Clock): KMSClient {
  const region = arnRegion ?? env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'];
  if (!region) {
    throw new KeyError(
      'KeyNotConfigured',
      'the region of the key is not known: set AWS_REGION, or name the key by its ARN',
    );
  }
  const address = endpoint === undefined ? awsEndpoint(env, 'KMS') : `https://${endpoint}`;
  return new KMSClient({
    region,
    credentials: awsCredentials(env, region, clock),
    maxAttempts: 1,
    requestHandler: new BoundedHandler(),
    ...(address === undefined ? {} : { endpoint: address }),
  });
}

async function lookUp(client: KMSClient, keyId: string, signal: AbortSignal): Promise<Found> {
  try {
    const sent = client.send(new GetPublicKeyCommand({ KeyId: keyId }), { abortSignal: signal });
    const answer = await untilAborted(sent, signal);
    const scheme = schemeBySubjectPublicKeyInfo(answer.PublicKey ?? new Uint8Array());
    const algorithm = scheme === undefined ? undefined : ALGORITHMS[scheme.keyAlgorithm];
    if (
      answer.PublicKey === undefined ||
      scheme === undefined ||
      algorithm === undefined ||
      answer.KeyUsage !== 'SIGN_VERIFY'
    ) {
      throw new KeyError(
        'KeyUnusable',
        'expected a key with usage SIGN_VERIFY and spec ECC_NIST_P256, ECC_NIST_P384 or ECC_NIST_P521: browsers refuse credentials by others',
      );
    }
    const publicKey = createPublicKey({ key: Buffer.from(answer.PublicKey), format: 'der', type: 'spki' });
    return { keyId: answer.KeyId ?? keyId, publicKey, scheme, algorithm };
  } catch (error) {
    signal.throwIfAborted();
    throw kmsError('read the public key', error);
  }
}
