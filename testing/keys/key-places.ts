/** One P-256 key in each place where a signer's key may be: a token, a KMS, a transit engine. */
import { randomUUID } from 'node:crypto';
import { CreateAliasCommand, CreateKeyCommand, KMSClient } from '@aws-sdk/client-kms';
import { KeyOpener } from '../../src/keys/key-opener.ts';
import { parseKeyUri } from '../../src/keys/key-uri.ts';
import { systemClock } from '../../src/kubernetes/clock.ts';
import { leaf } from '../support/openssl.ts';
import { callVault, findVault, type TransitServer } from '../vault/vault.ts';
import { FakeVault } from './fake-vault.ts';
import { findMoto } from './moto.ts';
import { findSoftHsm } from './softhsm.ts';

export interface KeyPlace {
  readonly backend: 'pkcs11' | 'awskms' | 'hashivault';
  /** For display: `SoftHSM`. */
  readonly name: string;
  readonly uri: string;
  /** Environment variables that the process using it needs. */
  readonly env: Readonly<Record<string, string>>;
}

export interface KeyPlaces extends AsyncDisposable {
  readonly places: readonly KeyPlace[];
  /** The Vault among them, fake or real. */
  readonly vault: TransitServer;
}

const NAME = 'web';
const REGION = 'eu-west-1';
const CREDENTIALS = { accessKeyId: 'test', secretAccessKey: 'test' } as const;

/** Why one of them is not available on this machine; undefined: all are. */
export async function whyNoKeyPlaces(): Promise<string | undefined> {
  const [hsm, moto] = [await findSoftHsm(), await findMoto()];
  if (!hsm.available) return hsm.reason;
  return moto.available ? undefined : moto.reason;
}

/** Throws where `whyNoKeyPlaces` has a reason. */
export async function startKeyPlaces(): Promise<KeyPlaces> {
  await using stack = new AsyncDisposableStack();
  const [hsm, moto] = [await findSoftHsm(), await findMoto()];
  if (!hsm.available || !moto.available) throw new Error('SoftHSM and moto are needed');

  const store = stack.use(hsm.createStore());
  await store.initialise('dcred');
  await store.importKey({ token: 'dcred', label: NAME, id: '01', pem: leaf().keyPem });
  const { SOFTHSM2_CONF = '' } = store.env;

  const aws = stack.use(await moto.start());
  const kms = new KMSClient({ region: REGION, endpoint: aws.url, credentials: CREDENTIALS });
  const { KeyMetadata } = await kms.send(new CreateKeyCommand({ KeySpec: 'ECC_NIST_P256', KeyUsage: 'SIGN_VERIFY' }));
  const alias = { AliasName: `alias/${NAME}`, TargetKeyId: KeyMetadata?.KeyId };
  await kms.send(new CreateAliasCommand(alias));
  kms.destroy();

  const found = await findVault();
  const vault = stack.use(found.available ? await found.start() : await FakeVault.start());
  const key = `web-${randomUUID()}`;
  await callVault(vault, 'POST', `transit/keys/${key}`, { type: 'ecdsa-p256' });

  const places: readonly KeyPlace[] = [
    {
      backend: 'pkcs11',
      name: 'SoftHSM',
      uri: store.uri({ token: 'dcred', object: NAME }),
      env: { SOFTHSM2_CONF },
    },
    {
      backend: 'awskms',
      name: 'moto, as AWS KMS',
      uri: `awskms:///alias/${NAME}`,
      env: {
        AWS_REGION: REGION,
        AWS_ENDPOINT_URL: aws.url,
        AWS_ACCESS_KEY_ID: CREDENTIALS.accessKeyId,
        AWS_SECRET_ACCESS_KEY: CREDENTIALS.secretAccessKey,
      },
    },
    {
      backend: 'hashivault',
      name: found.available ? 'Vault' : 'a fake of Vault',
      uri: `hashivault://${key}`,
      env: { VAULT_ADDR: vault.url, VAULT_TOKEN: vault.rootToken },
    },
  ];
  const held = stack.move();
  return { places, vault, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

/** SubjectPublicKeyInfo of the key, for the CA that certifies it. */
export async function publicKeyOf({ env, uri }: KeyPlace, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const parsed = parseKeyUri(uri);
  if (parsed.scheme === 'file') throw new TypeError('expected a key that is kept elsewhere');
  const opener = new KeyOpener({ env: { ...process.env, ...env }, clock: systemClock });
  const key = await opener.open(parsed, undefined, signal);
  try {
    return Uint8Array.from(key.publicKey.export({ type: 'spki', format: 'der' }));
  } finally {
    await key.close();
  }
}
