/** The flags by which a command reaches a signer. */
import type { Registry } from 'prom-client';
import { systemClock } from '../../kubernetes/clock.ts';
import { ConnectionError } from '../../kubernetes/connection/connection-error.ts';
import { SignerClientMetrics } from '../../operator/certificates/signer-link.ts';
import type { OperatorSigner } from '../../operator/operator-options.ts';
import { SignerClient } from '../../signer-client/signer-client.ts';
import { signerConnection } from '../../signer-client/signer-connection.ts';
import type { Tracing } from '../../tracing/tracing.ts';
import { VERSION } from '../../version.ts';
import { type CommandArguments, CommandError, type OptionSpec, UsageError } from '../command.ts';

export const SIGNER_OPTIONS = {
  signer: {
    type: 'string',
    value: 'URL',
    help: 'have credentials signed by the dcred signer at https://HOST:PORT, and read no certificate Secret',
  },
  'signer-ca': {
    type: 'string',
    value: 'FILE',
    help: "CA of the signer's certificate, PEM; default: Node's own list of public CAs",
  },
  'signer-token': {
    type: 'string',
    value: 'FILE',
    help: 'service account token for the signer, of the audience dcred-signer; read again as it is replaced',
  },
  'signer-cert': { type: 'string', value: 'FILE', help: 'client certificate for the signer, PEM, in place of a token' },
  'signer-key': { type: 'string', value: 'FILE', help: 'its private key, PEM' },
} as const satisfies Readonly<Record<string, OptionSpec>>;

/** Undefined without --signer. Throws UsageError for flags that do not go together, CommandError for files that cannot be read. */
export async function connectSigner(
  args: CommandArguments,
  registry: Registry,
  tracing: Pick<Tracing, 'headers'> | undefined,
): Promise<OperatorSigner | undefined> {
  const url = args.string('signer');
  const files = {
    caFile: args.string('signer-ca'),
    tokenFile: args.string('signer-token'),
    certFile: args.string('signer-cert'),
    keyFile: args.string('signer-key'),
  };
  if (url === undefined) {
    if (Object.values(files).every((file) => file === undefined)) return undefined;
    throw new UsageError('--signer-ca, --signer-token, --signer-cert and --signer-key need --signer URL');
  }
  if ((files.certFile === undefined) !== (files.keyFile === undefined)) {
    throw new UsageError('--signer-cert and --signer-key go together');
  }
  if ((files.tokenFile === undefined) === (files.certFile === undefined)) {
    throw new UsageError('--signer needs --signer-token FILE, or --signer-cert and --signer-key: one of the two');
  }
  const metrics = new SignerClientMetrics(registry);
  try {
    const connection = await signerConnection({ url, ...files, clock: systemClock });
    const { observe } = metrics;
    const headers = tracing && (() => tracing.headers());
    return {
      client: new SignerClient({ connection, userAgent: `dcred/${VERSION}`, clock: systemClock, headers, observe }),
      metrics,
    };
  } catch (error) {
    if (error instanceof ConnectionError) throw new CommandError(`--signer: ${error.message}`, { cause: error });
    throw error;
  }
}
