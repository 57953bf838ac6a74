/**
 * The certificates that the signer holds the keys of: folders with tls.crt and tls.key, such as mounted Secrets. Read again every
 * few seconds, so that a new certificate is used without a restart. One that cannot be used changes nothing: the last good pair
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

export interface CertificateFolder {
  readonly name: string;
  readonly directory: string;
}

export interface CertificateSourceOptions {
  readonly folders: readonly CertificateFolder[];
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

  /** What keeps certificates from being used; undefined where all are. */
  get problem(): string | undefined {
    const missing = this.#options.folders.filter(({ name }) => !this.#usable.has(name));
    if (missing.length === 0) return undefined;
    return missing.map(({ name }) => `${name}: ${this.#problems.get(name) ?? 'not read yet'}`).join('; ');
  }

  /** Reads all folders once. */
  async refresh(signal: AbortSignal): Promise<void> {
    for (const folder of this.#options.folders) await this.#refreshOne(folder, signal);
  }

  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.refresh(signal);
      await delay(this.#options.clock, POLL_MS, signal);
    }
  }

  async #refreshOne({ directory, name }: CertificateFolder, signal: AbortSignal): Promise<void> {
    try {
      const [chainPem, keyPem] = await Promise.all(
        ['tls.crt', 'tls.key'].map((file) => readBounded(join(directory, file))),
      );
      if (chainPem === undefined || keyPem === undefined) throw new TypeError('two files were asked for');
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
