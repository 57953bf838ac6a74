import type { RemoteKeyUri } from '../keys/key-opener.ts';
import { parseKeyUri } from '../keys/key-uri.ts';
import { KeyUriError } from '../keys/percent-decode.ts';
import { systemClock } from '../kubernetes/clock.ts';
import { VERSION } from '../version.ts';
import { type Command, type CommandArguments, type CommandIo, type ExitStatus, UsageError } from './command.ts';
import { type HttpServer, probe, serveHttp } from './http-server.ts';
import { connect, createClient, KUBERNETES_OPTIONS } from './kubernetes-options.ts';
import { createLogger, LOG_OPTIONS, readAddress } from './server-options.ts';

export const issuerCommand: Command = {
  name: 'issuer',
  summary: 'sign delegation certificates for cert-manager',
  usage: 'issuer [--ca-key NAME=URI]...',
  description:
    'An external issuer of cert-manager: signs CertificateRequests that refer to a DelegationIssuer or ClusterDelegationIssuer (group ' +
    'dcred.dev) and were approved, with DelegationUsage added, so that cert-manager keeps the certificate renewed. Secrets of ' +
    'cluster-wide issuers are in the namespace of this process. Runs until SIGTERM or SIGINT.',
  example: 'dcred issuer --ca-key edge=awskms:///alias/edge-ca',
  options: {
    ...KUBERNETES_OPTIONS,
    'ca-key': {
      type: 'string',
      value: 'NAME=URI',
      multiple: true,
      help: 'key of a CA that cluster-wide issuers may name, by a key URI; repeatable',
    },
    'health-probe-bind-address': {
      type: 'string',
      value: 'ADDRESS',
      default: ':8081',
      help: 'address of /healthz and /readyz; 0 turns it off',
    },
    ...LOG_OPTIONS,
  },

  async run(args, io) {
    const caKeys = readCaKeys(args);
    return await serve(args, io, caKeys);
  },
};

async function serve(
  args: CommandArguments,
  io: CommandIo,
  caKeys: ReadonlyMap<string, RemoteKeyUri>,
): Promise<ExitStatus> {
  const health = readAddress(args, 'health-probe-bind-address');
  const log = createLogger(args.required('log-level'), io);
  const connection = await connect(args, io);
  const client = createClient(connection);
  const [{ IssuerController }, { KeyOpener }] = await Promise.all([
    import('../issuer/controller.ts'),
    import('../keys/key-opener.ts'),
  ]);
  const controller = new IssuerController({
    client,
    keys: new KeyOpener({ env: io.env, clock: systemClock }),
    caKeys,
    namespace: io.env['POD_NAMESPACE'] ?? connection.defaultNamespace,
    clock: systemClock,
    random: Math.random,
    log,
  });
  let isSynced = false;
  void controller.synced.then(() => {
    isSynced = true;
  });
  const servers: HttpServer[] = [];
  try {
    const probes = {
      '/healthz': probe(() => undefined),
      '/readyz': probe(() =>
        isSynced ? undefined : 'the first lists are not complete: are the CRDs of cert-manager and dcred installed?',
      ),
    };
    if (health !== undefined) servers.push(await serveHttp(health, probes));
    log.info({ version: VERSION, server: connection.server }, 'starting');
    await controller.run(io.signal);
    return 0;
  } finally {
    await Promise.all(servers.map((server) => server.close()));
    await client.close();
  }
}

/** Throws UsageError, which quotes no PIN. */
function readCaKeys(args: CommandArguments): ReadonlyMap<string, RemoteKeyUri> {
  const keys = new Map<string, RemoteKeyUri>();
  for (const text of args.strings('ca-key')) {
    const [, name, uri] = /^([a-z0-9][a-z0-9-]{0,62})=(.*)$/s.exec(text) ?? [];
    if (name === undefined || uri === undefined)
      throw new UsageError('--ca-key takes NAME=URI, such as edge=awskms:///alias/edge-ca');
    keys.set(name, readRemote(name, uri));
  }
  return keys;
}

function readRemote(name: string, text: string): RemoteKeyUri {
  try {
    const uri = parseKeyUri(text);
    if (uri.scheme !== 'file') return uri;
  } catch (error) {
    if (error instanceof KeyUriError) throw new UsageError(`--ca-key ${name}: ${error.message}`, { cause: error });
    throw error;
  }
  throw new UsageError(
    `--ca-key ${name}: expected a key that is kept elsewhere; a file belongs into the issuer's Secret, as tls.key`,
  );
}
