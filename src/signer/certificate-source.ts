/**
 * The certificates that the signer holds the keys of: folders with tls.crt and tls.key, or Secrets that it gets by their names. Read
 * again every few seconds, so that a new certificate is used without a restart. One that cannot be used changes nothing: the last good pair
 * goes on signing, and the problem is reported.
 */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { type DelegationCertificate, readDelegationCertificate } from '../credential/delegation-certificate.ts';
import { assertSignerMatches, type Signer, signerFromPem } from '../credential/signer.ts';
import { type Clock, delay } from '../kubernetes/clock.ts';
import type { Logger } from '../kubernetes/log.ts';

export interface UsableCertificate {
  readonly certificate: DelegationCertificate;
  readonly signer: Signer;
}

export interface CertificateLocation {
  readonly name: string;
  /** With tls.crt and tls.key; undefined: the Secret of that name, from the API server. */
  readonly directory?: string | undefined;
}

export interface CertificatePair {
  readonly chainPem: string;
  readonly keyPem: string;
}

export interface CertificateSourceOptions {
  readonly locations: readonly CertificateLocation[];
  /** Throws for one that is not there. Undefined: all are folders. */
  readonly readSecret?: ((name: string, signal: AbortSignal) => Promise<CertificatePair>) | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  readonly onProblem?: (name: string, problem: string | undefined) => void;
  /** Another certificate is in use from now on. */
  readonly onChange?: () => void;
}

const POLL_MS = 5_000;
/** The same as for certificate Secrets. */
const MAX_FILE_BYTES = 64 * 1024;

export class CertificateSource {
  readonly #options: CertificateSourceOptions;
  readonly #usable = new Map<string, UsableCertificate>();
  readonly #seen = new Map<string, string>();
  readonly #problems = new Map<string, string>();

  constructor(options: CertificateSourceOptions) {
    this.#options = options;
  }

  get(name: string): UsableCertificate | undefined {
    return this.#usable.get(name);
  }

  /** Whether there should be one of that name, usable or not. */
  has(name: string): boolean {
    return this.#options.locations.some((location) => location.name === name);
  }

  /** What keeps certificates from being used; undefined where all are. */
  get problem(): string | undefined {
    const missing = this.#options.locations.filter(({ name }) => !this.#usable.has(name));
    if (missing.length === 0) return undefined;
    return missing.map(({ name }) => `${name}: ${this.#problems.get(name) ?? 'not read yet'}`).join('; ');
  }

  /** Reads all folders once. */
  async refresh(signal: AbortSignal): Promise<void> {
    for (const location of this.#options.locations) await this.#refreshOne(location, signal);
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.refresh(signal);
      await delay(this.#options.clock, POLL_MS, signal);
    }
  }

  async #refreshOne({ directory, name }: CertificateLocation, signal: AbortSignal): Promise<void> {
    try {
      const { chainPem, keyPem } = await this.#read(name, directory, signal);
      const seen = createHash('sha256').update(`${chainPem}\0${keyPem}`).digest('hex');
      if (this.#seen.get(name) === seen) return;
      const certificate = readDelegationCertificate(chainPem);
      const signer = signerFromPem(keyPem);
      // A folder that is being changed may hold a pair of two generations: it is read again, and nothing is lost.
      await assertSignerMatches(signer, certificate, { signal });
      this.#usable.set(name, { certificate, signer });
      this.#seen.set(name, seen);
      this.#report(name, undefined);
      this.#options.log.info({ certificate: name, sha256: certificate.sha256 }, 'certificate loaded');
      this.#options.onChange?.();
    } catch (error) {
      if (signal.aborted) return;
      this.#report(name, error instanceof Error ? error.message : String(error));
    }
  }

  async #read(name: string, directory: string | undefined, signal: AbortSignal): Promise<CertificatePair> {
    if (directory !== undefined) {
      const [chainPem, keyPem] = await Promise.all([
        readBounded(join(directory, 'tls.crt')),
        readBounded(join(directory, 'tls.key')),
      ]);
      return { chainPem, keyPem };
    }
    const { readSecret } = this.#options;
    if (readSecret === undefined) throw new TypeError('expected a directory: there is no connection to an API server');
    return await readSecret(name, signal);
  }

  /** Logged when it changes, not at every look. */
  #report(name: string, problem: string | undefined): void {
    if (this.#problems.get(name) === problem) return;
    if (problem === undefined) this.#problems.delete(name);
    else {
      this.#problems.set(name, problem);
      this.#options.log.warn({ certificate: name, problem }, 'certificate not usable');
    }
    this.#options.onProblem?.(name, problem);
  }
}

async function readBounded(path: string): Promise<string> {
  await using file = await open(path, 'r');
  const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_FILE_BYTES + 1), 0, MAX_FILE_BYTES + 1, 0);
  if (bytesRead > MAX_FILE_BYTES) throw new RangeError(`${path} is larger than 64 KiB`);
  return buffer.subarray(0, bytesRead).toString('utf8');
}
