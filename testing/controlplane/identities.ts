import { randomUUID } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Authority } from './certificates.ts';
import { bundle } from './components.ts';
import { type Credential, kubeconfig, type Trust } from './kubeconfig.ts';
import type { Identity, KubeconfigOptions, ServiceAccountName } from './options.ts';
import { signToken } from './tokens.ts';

const DAY_SECONDS = 24 * 3600;

export interface IdentitiesOptions {
  readonly directory: string;
  readonly authority: Authority;
  /** Path of the key with which the API server signs tokens. */
  readonly signingKey: string;
  readonly server: () => string;
  /** The UID of a service account, from the API server. */
  readonly uidOf: (account: ServiceAccountName) => Promise<string>;
}

/** Who may connect to a control plane, and what they trust: kubeconfigs, certificates, tokens. */
export class Identities {
  /** What clients with a kubeconfig `inFiles` trust: a PEM file. */
  readonly trustFile: string;
  readonly #options: IdentitiesOptions;
  #authority: Authority;

  constructor(options: IdentitiesOptions) {
    this.#options = options;
    this.#authority = options.authority;
    this.trustFile = join(options.directory, 'trust.crt');
  }

  get authority(): Authority {
    return this.#authority;
  }

  /** From now on certificates and files are made with this authority. */
  replaceAuthority(authority: Authority): void {
    this.#authority = authority;
  }

  publishTrust(authorities: readonly Authority[]): Promise<void> {
    return writeWhole(this.trustFile, bundle(authorities));
  }

  async writeAdminKubeconfig(path: string): Promise<void> {
    await this.#write(path, await this.#authority.issueClient('admin', ['system:masters']));
  }

  async kubeconfigFor(identity: Identity, options: KubeconfigOptions): Promise<string> {
    const path = join(this.#options.directory, `${randomUUID()}.kubeconfig`);
    const trust = options.inFiles === true ? { file: this.trustFile } : undefined;
    if ('user' in identity) {
      await this.#write(path, await this.#authority.issueClient(identity.user, identity.groups ?? []), { trust });
      return path;
    }
    const { namespace } = identity.serviceAccount;
    const token = await this.tokenFor(identity.serviceAccount, options);
    if (options.inFiles !== true) {
      await this.#write(path, { token }, { namespace });
      return path;
    }
    await writeWhole(tokenFile(path), token);
    await this.#write(path, { tokenFile: tokenFile(path) }, { trust, namespace });
    return path;
  }

  async tokenFor(
    account: ServiceAccountName,
    { lifetimeSeconds = DAY_SECONDS }: Pick<KubeconfigOptions, 'lifetimeSeconds'>,
  ): Promise<string> {
    const [uid, signingKey] = [await this.#options.uidOf(account), await readFile(this.#options.signingKey, 'utf8')];
    return signToken({ ...account, uid }, { signingKey, now: Math.floor(Date.now() / 1_000), lifetimeSeconds });
  }

  async renewToken(
    path: string,
    account: ServiceAccountName,
    options: Pick<KubeconfigOptions, 'lifetimeSeconds'>,
  ): Promise<void> {
    await writeWhole(tokenFile(path), await this.tokenFor(account, options));
  }

  #write(
    path: string,
    credential: Credential,
    options: { readonly trust?: Trust | undefined; readonly namespace?: string } = {},
  ): Promise<void> {
    const { namespace = 'default', trust = { certificates: this.#authority.certificate } } = options;
    return writeWhole(path, kubeconfig({ server: this.#options.server(), trust, credential, namespace }));
  }
}

function tokenFile(kubeconfigPath: string): string {
  return `${kubeconfigPath}.token`;
}

/** A reader sees the old text or the new one, never part of one. */
async function writeWhole(path: string, text: string): Promise<void> {
  const unfinished = `${path}.${randomUUID()}`;
  await writeFile(unfinished, text, { mode: 0o600 });
  await rename(unfinished, path);
}
