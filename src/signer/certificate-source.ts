/**
 * The certificates that the signer holds the keys of: folders with tls.crt and tls.key, or Secrets that it gets by their names. Read
 * again every few seconds, so that a new certificate is used without a restart. One that cannot be used changes nothing: the last good pair
 * goes on signing, and the problem is reported.
 */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { type DelegationCertificate, readDelegationCertificate } from '../credential/delegation-certificate.ts';
import { assertSignerMatches, type Signer, signerFromPem } from '../credential/signer.ts';
import { readBounded } from '../files/read-bounded.ts';
import type { RemoteKeyUri } from '../keys/key-opener.ts';
import type { KeyUri } from '../keys/key-uri.ts';
import { type Clock, delay } from '../kubernetes/clock.ts';
import type { Logger } from '../kubernetes/log.ts';
import { explainOpenSsl } from '../text/openssl-error.ts';

export interface UsableCertificate {
  readonly certificate: DelegationCertificate;
  readonly signer: Signer;
}

export interface CertificateLocation {
  readonly name: string;
  /** With tls.crt and tls.key; undefined: the Secret of that name, or where there is a `key` the ConfigMap, from the API server. */
  readonly directory?: string | undefined;
  /** In place of tls.key. From the signer's own configuration: an object of a tenant never names a key. */
  readonly key?: KeyUri | undefined;
}

/** A signer that may hold connections. */
interface OpenSigner extends Signer {
  close?(): Promise<void>;
}

export type OpenRemoteKey = (
  uri: RemoteKeyUri,
  certificate: DelegationCertificate,
  signal: AbortSignal,
) => Promise<OpenSigner>;

export interface CertificatePair {
  readonly chainPem: string;
  readonly keyPem: string;
}

/** What the API server has, by `NAMESPACE/NAME`. Both throw for one that is not there. */
export interface CertificateObjects {
  readonly readSecret: (name: string, signal: AbortSignal) => Promise<CertificatePair>;
  /** The public chain of a certificate whose key is kept elsewhere. */
  readonly readConfigMap: (name: string, signal: AbortSignal) => Promise<string>;
}

export interface CertificateSourceOptions {
  readonly locations: readonly CertificateLocation[];
  readonly openRemoteKey: OpenRemoteKey;
  /** Undefined: all are folders. */
  readonly objects?: CertificateObjects | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  /** After the first reading of each, and when it changes. A problem with a later reading leaves the last good pair in use. */
  readonly onProblem?: (name: string, problem: string | undefined) => void;
  /** Another certificate is in use from now on. */
  readonly onChange?: () => void;
}

const POLL_MS = 5_000;
/** The same as for certificate Secrets. */
const MAX_FILE_BYTES = 64 * 1024;

export class CertificateSource {
  readonly #options: CertificateSourceOptions;
  readonly #usable = new Map<string, UsableCertificate & { readonly signer: OpenSigner }>();
  readonly #seen = new Map<string, string>();
  /** Of those that were read at least once; undefined: none, at the last reading. */
  readonly #problems = new Map<string, string | undefined>();
  /** Fingerprints of all leaves that were in use since the start, by name. */
  readonly #leaves = new Map<string, Set<string>>();

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

  /** Whether that is the leaf of the certificate, or was since this process started. */
  hasUsed(name: string, leafSha256: string): boolean {
    return this.#leaves.get(name)?.has(leafSha256) ?? false;
  }

  /** Why nothing can be signed: not one certificate is usable. One that is missing must not stop the others. */
  get problem(): string | undefined {
    return this.#usable.size === 0 ? this.unusable : undefined;
  }

  /** The certificates that were never usable, and why; undefined where there are none. */
  get unusable(): string | undefined {
    const missing = this.#options.locations.filter(({ name }) => !this.#usable.has(name));
    if (missing.length === 0) return undefined;
    return missing.map(({ name }) => `${name}: ${this.#problems.get(name) ?? 'not read yet'}`).join('; ');
  }

  /** Reads all folders once. */
  async refresh(signal: AbortSignal): Promise<void> {
    await Promise.all(this.#options.locations.map((location) => this.#refreshOne(location, signal)));
  }

  /** Each by itself: a key that cannot be reached holds up no other. */
  async run(signal: AbortSignal): Promise<void> {
    const watch = async (location: CertificateLocation): Promise<void> => {
      while (!signal.aborted) {
        await this.#refreshOne(location, signal);
        await delay(this.#options.clock, POLL_MS, signal);
      }
    };
    await Promise.all(this.#options.locations.map(watch));
  }

  async close(): Promise<void> {
    const open = [...this.#usable.values()];
    this.#usable.clear();
    await Promise.allSettled(open.map(async ({ signer }) => await signer.close?.()));
  }

  async #refreshOne(location: CertificateLocation, signal: AbortSignal): Promise<void> {
    const { name } = location;
    try {
      const { chainPem, keyPem } = await this.#read(location, signal);
      const seen = createHash('sha256').update(`${chainPem}\0${keyPem}`).digest('hex');
      if (this.#seen.get(name) === seen) {
        this.#report(name, undefined);
        return;
      }
      const certificate = readDelegationCertificate(chainPem);
      const signer = await this.#open(location, keyPem, certificate, signal);
      const before = this.#usable.get(name);
      this.#usable.set(name, { certificate, signer });
      this.#leaves.set(name, (this.#leaves.get(name) ?? new Set()).add(certificate.sha256));
      this.#seen.set(name, seen);
      this.#report(name, undefined);
      this.#options.log.info({ certificate: name, sha256: certificate.sha256 }, 'certificate loaded');
      this.#options.onChange?.();
      await before?.signer.close?.();
    } catch (error) {
      if (signal.aborted) return;
      this.#report(name, explainOpenSsl(error instanceof Error ? error.message : String(error)));
    }
  }

  async #open(
    { key }: CertificateLocation,
    keyPem: string,
    certificate: DelegationCertificate,
    signal: AbortSignal,
  ): Promise<OpenSigner> {
    if (isRemote(key)) return await this.#options.openRemoteKey(key, certificate, signal);
    const signer = signerFromPem(keyPem);
    // A folder that is being changed may hold a pair of two generations: it is read again, and nothing is lost.
    await assertSignerMatches(signer, certificate, { signal });
    return signer;
  }

  /** Of a key that is kept elsewhere, `keyPem` is empty. */
  async #read({ directory, key, name }: CertificateLocation, signal: AbortSignal): Promise<CertificatePair> {
    if (key === undefined && directory === undefined) return await this.#objects.readSecret(name, signal);
    const [chainPem, keyPem] = await Promise.all([
      directory === undefined ? this.#objects.readConfigMap(name, signal) : readText(join(directory, 'tls.crt')),
      isRemote(key) ? '' : readText(key?.path ?? join(directory ?? '', 'tls.key')),
    ]);
    return { chainPem, keyPem };
  }

  get #objects(): CertificateObjects {
    const { objects } = this.#options;
    if (objects === undefined) throw new TypeError('expected a directory: there is no connection to an API server');
    return objects;
  }

  /** The first time, and when it changes: not at every look. */
  #report(name: string, problem: string | undefined): void {
    const before = this.#problems.get(name);
    if (this.#problems.has(name) && before === problem) return;
    this.#problems.set(name, problem);
    const { log, onProblem } = this.#options;
    if (problem !== undefined) log.warn({ certificate: name, detail: problem }, 'certificate not usable');
    else if (before !== undefined) log.info({ certificate: name }, 'certificate usable again');
    onProblem?.(name, problem);
  }
}

function isRemote(key: KeyUri | undefined): key is RemoteKeyUri {
  return key !== undefined && key.scheme !== 'file';
}

async function readText(path: string): Promise<string> {
  return (await readBounded(path, MAX_FILE_BYTES)).toString('utf8');
}
