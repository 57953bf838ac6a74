/** The issuers' CAs: each is read when it is used, so that a CA that was replaced signs from then on. */
import {
  type CLUSTER_ISSUER_KIND,
  clusterIssuerSpecSchema,
  ISSUER_KIND,
  type IssuerSpec,
  issuerSpecSchema,
} from '../api/delegation-issuer.ts';
import { CertificateError } from '../credential/errors.ts';
import { assertSignerMatches, type Signer, signerFromPem } from '../credential/signer.ts';
import { KeyError } from '../keys/key-error.ts';
import type { KeyOpener, RemoteKeyUri } from '../keys/key-opener.ts';
import { isApiError, isMissing } from '../kubernetes/api-error.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
import { SECRETS } from '../kubernetes/resource-type.ts';
import { describeSchemaProblems } from '../text/schema-problem.ts';
import { type Authority, readAuthority } from './authority.ts';
import type { IssuerFailure } from './names.ts';

export interface IssuerReference {
  readonly kind: typeof ISSUER_KIND | typeof CLUSTER_ISSUER_KIND;
  /** Of the Secret: the issuer's own, or that of dcred issuer. */
  readonly secretNamespace: string;
  readonly spec: IssuerSpec;
}

export class IssuerError extends Error {
  override readonly name = 'IssuerError';
  readonly code: IssuerFailure;

  constructor(code: IssuerError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

/** Throws IssuerError for a spec that an older CRD let pass. */
export function readIssuer(
  raw: KubernetesObject,
  kind: IssuerReference['kind'],
  ownNamespace: string,
): IssuerReference {
  const { spec } = raw as { readonly spec?: unknown };
  const schema = kind === ISSUER_KIND ? issuerSpecSchema : clusterIssuerSpecSchema;
  const parsed = schema.safeParse(spec);
  if (!parsed.success) {
    const message = describeSchemaProblems(parsed.error.issues, { schema, value: spec, root: 'spec' });
    throw new IssuerError('SpecInvalid', `${message}: correct it`);
  }
  return {
    kind,
    spec: parsed.data,
    secretNamespace: kind === ISSUER_KIND ? (raw.metadata.namespace ?? '') : ownNamespace,
  };
}

type Secret = KubernetesObject<{ readonly data?: Readonly<Record<string, string>> }>;
const MAX_ENTRY_LENGTH = 90_000;

export interface AuthorityLoaderOptions {
  readonly client: ApiClient;
  readonly keys: KeyOpener;
  /** From the command line: the only place that names a key outside of a Secret. */
  readonly caKeys: ReadonlyMap<string, RemoteKeyUri>;
}

type OpenKey = Signer & { close(): Promise<void> };

/** A key that no issuer has needed for this long is that of a CA that was replaced: every issuer loads its own once a minute. */
const UNUSED_SECONDS = 600;

export class AuthorityLoader {
  readonly #options: AuthorityLoaderOptions;
  /**
   * By the key's name and the certificate that it fits: the key of a CA that was renewed is opened again. From the moment that opening
   * begins, so that requests that come at once share one session, and close ends them all.
   */
  readonly #open = new Map<string, { readonly key: Promise<OpenKey>; usedAt: number }>();

  constructor(options: AuthorityLoaderOptions) {
    this.#options = options;
  }

  /** Throws IssuerError; ApiError where the API server does not answer. `now` in seconds. */
  async load({ secretNamespace, spec }: IssuerReference, now: number, signal: AbortSignal): Promise<Authority> {
    const { keyName, secretName } = spec.ca;
    const data = await this.#readSecret(secretNamespace, secretName, signal);
    const entry = (name: string) => {
      const value = data[name] ?? '';
      if (value === '' || value.length > MAX_ENTRY_LENGTH) {
        throw new IssuerError(
          'AuthorityInvalid',
          `Secret "${secretName}" has no usable ${name}: expected PEM of at most 64 KiB`,
        );
      }
      return Buffer.from(value, 'base64').toString('utf8');
    };
    try {
      const authority = readAuthority(entry('tls.crt'), now);
      if (keyName !== undefined) return { ...authority, signer: await this.#openKey(keyName, authority, now, signal) };
      const signer = signerFromPem(entry('tls.key'));
      await assertSignerMatches(signer, authority.certificate, { signal });
      return { ...authority, signer };
    } catch (error) {
      if (error instanceof CertificateError)
        throw new IssuerError('AuthorityInvalid', `the CA in Secret "${secretName}": ${error.message}`);
      if (error instanceof KeyError)
        throw new IssuerError(error.retryable ? 'KeyUnavailable' : 'AuthorityInvalid', error.message);
      throw error;
    }
  }

  async close(): Promise<void> {
    await Promise.allSettled([...this.#open.values()].map(async ({ key }) => await (await key).close()));
  }

  async #readSecret(namespace: string, name: string, signal: AbortSignal): Promise<Readonly<Record<string, string>>> {
    try {
      const secret = await this.#options.client.get<Secret>(SECRETS, { namespace, name }, { signal });
      return secret.data ?? {};
    } catch (error) {
      if (!isMissing(error) && !isApiError(error, 'Forbidden')) throw error;
      throw new IssuerError(
        'SecretNotFound',
        `Secret "${name}" in namespace "${namespace}" does not exist, or dcred issuer may not read it`,
      );
    }
  }

  async #openKey(
    name: string,
    { certificate }: Omit<Authority, 'signer'>,
    now: number,
    signal: AbortSignal,
  ): Promise<Signer> {
    const uri = this.#options.caKeys.get(name);
    if (uri === undefined) {
      throw new IssuerError(
        'KeyNotConfigured',
        `there is no CA key "${name}": start dcred issuer with --ca-key ${name}=URI`,
      );
    }
    const id = `${name} ${certificate.sha256}`;
    const open = this.#open.get(id) ?? { key: this.#options.keys.open(uri, certificate, signal), usedAt: now };
    // The clock may be set back: the time of the last use goes back with it.
    open.usedAt = now;
    this.#open.set(id, open);
    this.#closeUnused(now);
    try {
      return await open.key;
    } catch (error) {
      if (this.#open.get(id) === open) this.#open.delete(id);
      throw error;
    }
  }

  #closeUnused(now: number): void {
    for (const [id, { key, usedAt }] of this.#open) {
      if (now - usedAt <= UNUSED_SECONDS) continue;
      this.#open.delete(id);
      // After the signatures that are under way. That it cannot be closed leaves nothing to do.
      void key.then((one) => one.close()).catch(() => undefined);
    }
  }
}
