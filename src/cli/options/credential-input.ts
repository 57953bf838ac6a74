/** Reads certificates, keys and credentials from the files that commands are given. */
import { type Certificate, type PemLimits, readCertificateChain } from '../../credential/certificate.ts';
import { type CredentialKey, credentialKeyFromPem } from '../../credential/credential-key.ts';
import { CertificateError, CredentialKeyError, MalformedCredentialError } from '../../credential/errors.ts';
import { type CredentialFile, readCredentialFile } from '../../credential/formats.ts';
import { CommandError } from '../command.ts';
import { readInput, readInputText } from './input.ts';

/** Runs `work`, turning what the credential core throws into a CommandError that names the file. */
export function reading<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw namingFile(path, error);
  }
}

export function namingFile(path: string, error: unknown): unknown {
  const isKnown =
    error instanceof CertificateError ||
    error instanceof CredentialKeyError ||
    error instanceof MalformedCredentialError;
  return isKnown ? new CommandError(`${path}: ${error.message}`, { cause: error }) : error;
}

/** The system's bundle has 150 CAs in 220 kB. */
export const CA_FILE_LIMITS: PemLimits = { maxBytes: 1_048_576, maxCertificates: 1_024 };

/** The CA certificates in a file. */
export async function readCaFile(path: string, signal: AbortSignal): Promise<readonly Certificate[]> {
  const pem = await readInputText(path, { what: 'CA certificates in PEM', signal });
  return reading(path, () => readCertificateChain(pem, CA_FILE_LIMITS));
}

/** The chain in a file, not yet checked. */
export async function readChainFile(
  path: string,
  signal: AbortSignal,
): Promise<readonly [Certificate, ...Certificate[]]> {
  const pem = await readInputText(path, { what: 'a certificate chain in PEM', signal });
  return reading(path, () => readCertificateChain(pem));
}

export async function readCredentialKeyFile(path: string, signal: AbortSignal): Promise<CredentialKey> {
  const pem = await readInputText(path, { what: 'a private key in PEM', signal });
  return reading(path, () => credentialKeyFromPem(pem));
}

/** A credential in any of the contract's formats. */
export async function readCredential(path: string, signal: AbortSignal): Promise<CredentialFile> {
  const data = await readInput(path, { what: 'a delegated credential', signal });
  return reading(path, () => readCredentialFile(data));
}
