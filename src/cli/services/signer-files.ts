/** The files that the signer is given, but for its configuration and its certificates: each is used again as it is replaced. */
import { createPublicKey } from 'node:crypto';
import { createLocalJWKSet, type JSONWebKeySet, type JWK } from 'jose';
import { readCertificateChain } from '../../credential/certificate.ts';
import type { SignerConfig } from '../../signer/config.ts';
import type { SignerProcess } from '../../signer/signer.ts';
import { CommandError } from '../command.ts';
import { CA_FILE_LIMITS, reading } from '../options/credential-input.ts';
import { readInputText } from '../options/input.ts';
import type { ReloadedFile } from './reloaded-files.ts';

export interface SignerFilePaths {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string | undefined;
  readonly issuers: SignerConfig['issuers'];
}

export interface SignerFiles {
  readonly certificatePem: string;
  readonly keyPem: string;
  readonly clientCaPem: string | undefined;
  /** By the issuer's URL, as text. */
  readonly keySets: ReadonlyMap<string, string>;
}

/** Throws CommandError for what cannot be used. */
export async function readSignerFiles(paths: SignerFilePaths, signal: AbortSignal): Promise<SignerFiles> {
  const [certificatePem, keyPem] = await readServing(paths, signal);
  const clientCaPem = paths.clientCa === undefined ? undefined : await readClientCa(paths.clientCa, signal);
  const keySets = new Map<string, string>();
  for (const { jwksFile, url } of paths.issuers) {
    const text = await readKeySet(jwksFile, signal);
    parseKeySet(text, jwksFile);
    keySets.set(url, text);
  }
  return { certificatePem, keyPem, clientCaPem, keySets };
}

export function keySetsOf({ keySets }: SignerFiles): ReadonlyMap<string, JSONWebKeySet> {
  return new Map([...keySets].map(([url, text]) => [url, parseKeySet(text, url)]));
}

/** @param initial what the signer was started with */
export function signerFiles(
  paths: SignerFilePaths,
  initial: SignerFiles,
  signer: SignerProcess,
): readonly ReloadedFile[] {
  const { clientCa, issuers } = paths;
  return [
    {
      name: 'serving certificate',
      read: (signal) => readServing(paths, signal),
      use: (certificatePem = '', keyPem = '') => signer.useServingCertificate(certificatePem, keyPem),
      initial: [initial.certificatePem, initial.keyPem],
    },
    ...(clientCa === undefined
      ? []
      : [
          {
            name: 'client CA',
            read: async (signal: AbortSignal) => [await readClientCa(clientCa, signal)],
            use: (pem = '') => signer.useClientCa(pem),
            initial: [initial.clientCaPem ?? ''],
          },
        ]),
    ...issuers.map(({ jwksFile, url }) => ({
      name: `keys of ${url}`,
      read: async (signal: AbortSignal) => [await readKeySet(jwksFile, signal)],
      use: (text = '') => signer.useKeySet(url, parseKeySet(text, jwksFile)),
      initial: [initial.keySets.get(url) ?? ''],
    })),
  ];
}

async function readServing({ cert, key }: SignerFilePaths, signal: AbortSignal): Promise<readonly [string, string]> {
  return [
    await readInputText(cert, { what: 'the serving certificate in PEM', signal }),
    await readInputText(key, { what: 'its private key in PEM', signal }),
  ];
}

/** Checked here: TLS takes a file without a certificate for one that trusts nobody, and says nothing. */
async function readClientCa(path: string, signal: AbortSignal): Promise<string> {
  const pem = await readInputText(path, { what: 'CA certificates in PEM', signal });
  reading(path, () => readCertificateChain(pem, CA_FILE_LIMITS));
  return pem;
}

async function readKeySet(path: string, signal: AbortSignal): Promise<string> {
  return await readInputText(path, { what: 'a JSON Web Key Set', signal });
}

/** Checked here: jose takes any list of objects for keys, and a token that fits none of them is a stranger's. */
function parseKeySet(text: string, path: string): JSONWebKeySet {
  let set: JSONWebKeySet;
  try {
    set = JSON.parse(text) as JSONWebKeySet;
    createLocalJWKSet(set);
  } catch (cause) {
    throw new CommandError(`${path}: expected a JSON Web Key Set, {"keys": [...]}`, { cause });
  }
  if (set.keys.some(isTokenKey)) return set;
  throw new CommandError(
    `${path}: expected an RSA or EC public key among the ${set.keys.length} of the JSON Web Key Set, found none`,
  );
}

/** Of a kind that API servers sign tokens by. Others may stand beside it. */
function isTokenKey(key: JWK): boolean {
  try {
    return (key.kty === 'RSA' || key.kty === 'EC') && createPublicKey({ key, format: 'jwk' }).type === 'public';
  } catch {
    return false;
  }
}
