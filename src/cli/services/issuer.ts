import { ISSUER_LEASE_NAME } from '../../issuer/names.ts';
import type { RemoteKeyUri } from '../../keys/key-opener.ts';
import { parseKeyUri } from '../../keys/key-uri.ts';
import { KeyUriError } from '../../keys/percent-decode.ts';
import { systemClock } from '../../kubernetes/clock.ts';
import { LeaderElector } from '../../kubernetes/leader/leader-election.ts';
import { VERSION } from '../../version.ts';
import { type Command, type CommandArguments, type CommandIo, type ExitStatus, UsageError } from '../command.ts';
import { type HttpServer, probeHandler, scrapes, serveHttp } from '../http-server.ts';
import {
  connect,
  createClient,
  KUBERNETES_OPTIONS,
  leaderElectionOptions,
  leaseIdentity,
} from '../options/kubernetes-options.ts';
import { METRICS_AUTH_OPTION, scrapeAuthorizer } from '../options/metrics-guard.ts';
import { ADDRESS_OPTIONS, createLogger, LOG_OPTIONS, readAddress } from '../options/server-options.ts';
import { startTracing, traceApiCall } from '../options/tracing.ts';

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
    ...leaderElectionOptions(ISSUER_LEASE_NAME),
    ...ADDRESS_OPTIONS,
    ...METRICS_AUTH_OPTION,
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
  const metricsAddress = readAddress(args, 'metrics-bind-address');
  const healthAddress = readAddress(args, 'health-probe-bind-address');
  const log = createLogger(args.required('log-level'), io);
  const connection = await connect(args, io);
  const [{ IssuerController }, { IssuerMetrics }, { KeyOpener }] = await Promise.all([
    import('../../issuer/controller.ts'),
    import('../../issuer/metrics.ts'),
    import('../../keys/key-opener.ts'),
  ]);
  const tracing = await startTracing(io, 'dcred-issuer', log);
  const metrics = new IssuerMetrics(VERSION);
  metrics.engine.collectProcessMetrics();
  const client = createClient(connection, {
    observe: (call) => {
      metrics.engine.apiCall(call);
      traceApiCall(tracing, call);
    },
  });
  const shared = { client, clock: systemClock, random: Math.random, log };
  const namespace = io.env['POD_NAMESPACE'] ?? connection.defaultNamespace;
  const leaseName = args.required('leader-elect-resource-name');
  const controller = new IssuerController({
    ...shared,
    keys: new KeyOpener({ env: io.env, clock: systemClock, observe: (...call) => metrics.key(...call) }),
    caKeys,
    namespace,
    elector: args.boolean('leader-elect')
      ? new LeaderElector({ ...shared, namespace, name: leaseName, identity: leaseIdentity(io) })
      : undefined,
    leaseName,
    metrics,
    inSpan: tracing?.inSpan,
  });
  let isSynced = false;
  void controller.settled().then(() => {
    isSynced = true;
  });
  const authorize = scrapeAuthorizer(args, client, io.signal);
  const servers: HttpServer[] = [];
  try {
    const probes = {
      '/healthz': probeHandler(() => undefined),
      '/readyz': probeHandler(() =>
        isSynced ? undefined : 'the first lists are not complete: are the CRDs of cert-manager and dcred installed?',
      ),
    };
    if (healthAddress !== undefined) servers.push(await serveHttp(healthAddress, probes));
    if (metricsAddress !== undefined)
      servers.push(await serveHttp(metricsAddress, scrapes(metrics.registry), authorize));
    log.info({ version: VERSION, server: connection.server }, 'starting');
    const end = await controller.run(io.signal);
    if (end === 'released') return 0;
    log.error({}, 'leader election lost: another replica leads, exiting');
    return 1;
  } finally {
    await Promise.all(servers.map((server) => server.close()));
    await Promise.all([client.close(), tracing?.shutdown()]);
  }
}

/** Throws UsageError, which quotes no PIN. */
function readCaKeys(args: CommandArguments): ReadonlyMap<string, RemoteKeyUri> {
  const keys = new Map<string, RemoteKeyUri>();
  for (const text of args.strings('ca-key')) {
    const [, name, uri] = /^([a-z0-9][a-z0-9-]{0,62})=(.*)$/s.exec(text) ?? [];
    if (name === undefined || uri === undefined)
      throw new UsageError('--ca-key takes NAME=URI, such as edge=awskms:///alias/edge-ca');
    if (keys.has(name)) throw new UsageError(`--ca-key ${name} is given twice: which key is meant?`);
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
    `--ca-key ${name}: expected a pkcs11:, awskms: or hashivault: URI; put a key in a file into the issuer's Secret, as tls.key`,
  );
}
