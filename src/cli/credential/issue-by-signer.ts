/** `dcred issue --signer`: a signer gives the certificate and signs; the certificate's key stays where it is. */
import { hostname } from 'node:os';
import { Registry } from 'prom-client';
import type { CredentialHolder, CredentialSigner } from '../../credential/credential-signer.ts';
import { type DelegationCertificate, readDelegationCertificate } from '../../credential/delegation-certificate.ts';
import type { Usage } from '../../credential/scheme.ts';
import { ApiError } from '../../kubernetes/api-error.ts';
import { systemClock } from '../../kubernetes/clock.ts';
import { SignerUnavailableError, SigningRefusedError } from '../../signer-client/errors.ts';
import { requestableSeconds } from '../../signer-client/lifetime.ts';
import { remoteSigner } from '../../signer-client/remote-signer.ts';
import type { SignerClient } from '../../signer-client/signer-client.ts';
import { isDnsLabel } from '../../text/dns-name.ts';
import { type CommandArguments, CommandError, UsageError } from '../command.ts';
import { connectSigner } from '../options/signer-options.ts';

export const BY_SIGNER_OPTIONS = {
  certificate: {
    type: 'string',
    value: 'NAMESPACE/NAME',
    help: 'with --signer: the certificate, as the signer knows it',
  },
  namespace: {
    type: 'string',
    value: 'NAMESPACE',
    expects: (value: string) => (isDnsLabel(value) ? undefined : 'the name of a namespace, such as edge'),
    help: 'with --signer: the namespace that the grant names; default: that of the certificate',
  },
} as const;

/** What a signer gives in place of files. */
export interface SignerSource {
  readonly certificate: DelegationCertificate;
  readonly signer: CredentialSigner;
  readonly holder: CredentialHolder;
  /** The longest life that is granted. */
  readonly maxLifetimeSeconds: number;
}

/** As `NAMESPACE/NAME` is in the audit log of the signer: what is not a resource of a cluster. */
const RESOURCE = 'dcred-issue';

/** Throws UsageError, and CommandError for whatever the signer refuses. */
export async function withSigner<T>(
  args: CommandArguments,
  usage: Usage,
  signal: AbortSignal,
  work: (source: SignerSource) => Promise<T>,
): Promise<T> {
  if (args.string('cert') !== undefined || args.string('key') !== undefined) {
    throw new UsageError('--signer gives the certificate and has its key: leave out --cert and --key');
  }
  const name = args.required('certificate');
  const connected = await connectSigner(args, new Registry(), undefined);
  if (connected === undefined) throw new TypeError('called without --signer');
  const { client } = connected;
  try {
    return await work(
      await sourceOf(client, name, args.string('namespace') ?? name.split('/')[0] ?? '', usage, signal),
    );
  } catch (error) {
    if (error instanceof SigningRefusedError)
      throw new CommandError(`the signer refuses (${error.code}): ${error.message}`);
    if (error instanceof ApiError) throw new CommandError(new SignerUnavailableError(client.server, error).message);
    throw error;
  } finally {
    await client.close();
  }
}

async function sourceOf(
  client: SignerClient,
  name: string,
  namespace: string,
  usage: Usage,
  signal: AbortSignal,
): Promise<SignerSource> {
  const [news] = await client.follow({ known: [{ certificate: name, namespace }], waitSeconds: 0 }, signal);
  if (news === undefined) {
    throw new CommandError(
      `expected certificate "${name}" of the signer, got no answer about it: the signer cannot use it, or cannot read its grants now. Try ` +
        "again; the signer's log says why",
    );
  }
  const lifetimes = (news.granted?.usages ?? [])
    .filter((one) => one.usage === usage)
    .map(({ maxLifetimeSeconds }) => maxLifetimeSeconds);
  if (news.granted === undefined || lifetimes.length === 0) {
    throw new CommandError(
      `no grant lets namespace "${namespace}" of this client's cluster use a certificate "${name}" of the signer for usage ${usage}: ask its ` +
        'owner for a grant, or correct --certificate and --namespace',
    );
  }
  const sign = async (request: Parameters<SignerClient['sign']>[0][number], stop: AbortSignal) => {
    const [result] = await client.sign([request], stop);
    return result ?? Promise.reject(new TypeError('no result'));
  };
  return {
    certificate: readDelegationCertificate(news.granted.chainPem),
    signer: remoteSigner({ sign }, name),
    holder: { namespace, resource: RESOURCE, podUid: hostname() || 'unknown' },
    maxLifetimeSeconds: requestableSeconds(Math.max(...lifetimes), client, systemClock),
  };
}
