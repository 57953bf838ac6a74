import { systemClock } from '../../kubernetes/clock.ts';
import { LeaderElector } from '../../kubernetes/leader/leader-election.ts';
import { ShardElection } from '../../kubernetes/leader/shard-election.ts';
import { MAX_SHARDS } from '../../kubernetes/leader/shards.ts';
import { Operator } from '../../operator/operator.ts';
import { LEASE_NAME } from '../../operator/operator-options.ts';
import { Outage } from '../../operator/outage.ts';
import { WritePace, workersFor } from '../../operator/pods/write-pace.ts';
import { OperatorMetrics } from '../../operator/reporting/metrics.ts';
import { VERSION } from '../../version.ts';
import { type Command, type CommandArguments, type CommandIo, type ExitStatus, UsageError } from '../command.ts';
import { type HttpServer, type PathHandler, probeHandler, scrapes, serveHttp } from '../http-server.ts';
import {
  connect,
  createClient,
  instanceName,
  KUBERNETES_OPTIONS,
  leaderElectionOptions,
  leaseIdentity,
  NAMESPACE_OPTION,
} from '../options/kubernetes-options.ts';
import { METRICS_AUTH_OPTION, scrapeAuthorizer } from '../options/metrics-guard.ts';
import { ADDRESS_OPTIONS, createLogger, LOG_OPTIONS, readAddress } from '../options/server-options.ts';
import { connectSigner, SIGNER_OPTIONS } from '../options/signer-options.ts';
import { startTracing, traceApiCall } from '../options/tracing.ts';

const MAX_WORKERS = 256;
const MAX_REISSUES = 100_000;
/** No worker waits for another's connection; the spare ones are for status, Events and reads of certificates. */
const MIN_CONNECTIONS = 32;
const SPARE_CONNECTIONS = 16;

export const operatorCommand: Command = {
  name: 'operator',
  summary: 'run the controllers',
  usage: 'operator [-n NAMESPACE]... [options]',
  description:
    'Watches DelegatedCredential resources and issues a delegated credential to every selected pod, into a Secret of its own. ' +
    'Runs until SIGTERM or SIGINT; then it finishes the writes in progress and releases its lease.',
  example: 'dcred operator --kubeconfig ~/.kube/config -n edge -n shop --leader-elect=false',
  options: {
    ...KUBERNETES_OPTIONS,
    namespace: {
      ...NAMESPACE_OPTION,
      multiple: true,
      help: 'serve this namespace only; may be repeated; default: all',
    },
    'certificate-namespace': {
      type: 'string',
      multiple: true,
      value: 'NAMESPACE',
      expects: NAMESPACE_OPTION.expects,
      help: 'beside --namespace: honour the DelegationGrants of this namespace; may be repeated',
    },
    'require-grant': {
      type: 'boolean',
      default: false,
      help: "use no certificate without a DelegationGrant, not even one of the resource's own namespace",
    },
    ...leaderElectionOptions(LEASE_NAME),
    shards: {
      type: 'string',
      value: 'N',
      default: '1',
      help: 'share the namespaces among the replicas, in N shards with a Lease each; the same N for all replicas; 1: one replica leads',
    },
    ...ADDRESS_OPTIONS,
    ...METRICS_AUTH_OPTION,
    workers: {
      type: 'string',
      value: 'N',
      default: '16',
      help: 'how many pods are reconciled at a time, at most; where a signer signs, how many are written, and others are signed meanwhile',
    },
    'max-reissues-per-second': {
      type: 'string',
      value: 'N',
      default: '0',
      help: 're-issues per second after a new leaf, soonest expiry first; 0: as many as the API server takes',
    },
    'notify-pods': {
      type: 'boolean',
      default: true,
      help: 'annotate a pod after its Secret was re-issued, so that its kubelet mounts it at once',
    },
    ...SIGNER_OPTIONS,
    ...LOG_OPTIONS,
  },
  run: runOperator,
};

async function runOperator(args: CommandArguments, io: CommandIo): Promise<ExitStatus> {
  const written = readWorkers(args.required('workers'));
  const shards = readShards(args.required('shards'), args.boolean('leader-elect'));
  const metricsAddress = readAddress(args, 'metrics-bind-address');
  const healthAddress = readAddress(args, 'health-probe-bind-address');
  const log = createLogger(args.required('log-level'), io);
  const metrics = new OperatorMetrics(VERSION);
  metrics.engine.collectProcessMetrics();
  const tracing = await startTracing(io, 'dcred-operator', log);
  const signer = await connectSigner(args, metrics.registry, tracing);
  const signsAhead = signer !== undefined;
  const workers = workersFor(written, signsAhead);
  const connection = await connect(args, io);
  const pace = new WritePace({ max: written, clock: systemClock, signsAhead });
  const outage = new Outage();
  const client = createClient(connection, {
    connections: Math.max(MIN_CONNECTIONS, written + SPARE_CONNECTIONS),
    observe: (call) => {
      metrics.engine.apiCall(call);
      pace.observe(call);
      outage.observe(call);
      traceApiCall(tracing, call);
    },
  });
  const instance = instanceName(io);
  const namespace = io.env['POD_NAMESPACE'] ?? connection.defaultNamespace;
  const leaseName = args.required('leader-elect-resource-name');
  const election = { name: leaseName, namespace, identity: leaseIdentity(io) };
  const shared = { client, clock: systemClock, random: Math.random, log };
  const operator = new Operator({
    ...shared,
    namespaces: args.strings('namespace'),
    certificateNamespaces: args.strings('certificate-namespace'),
    requireGrant: args.boolean('require-grant'),
    workers,
    pace,
    outage,
    maxReissuesPerSecond: readRate(args.required('max-reissues-per-second')),
    notifyPods: args.boolean('notify-pods'),
    elector: args.boolean('leader-elect') && shards === 1 ? new LeaderElector({ ...shared, ...election }) : undefined,
    shards: shards === 1 ? undefined : new ShardElection({ ...shared, ...election, shards, pod: podOf(io) }),
    leaseName,
    metrics,
    instance,
    namespace,
    signer,
    tracing,
  });
  const authorize = scrapeAuthorizer(args, client, io.signal);
  const servers: HttpServer[] = [];
  try {
    if (healthAddress !== undefined) servers.push(await serveHttp(healthAddress, probes(operator)));
    if (metricsAddress !== undefined)
      servers.push(await serveHttp(metricsAddress, scrapes(metrics.registry), authorize));
    log.info({ version: VERSION, server: connection.server, signer: signer?.client.server, workers }, 'starting');
    void operator.settled().then(() => log.info({ seconds: Number(process.uptime().toFixed(3)) }, 'caches synced'));
    const end = await operator.run(io.signal);
    if (end === 'released') return 0;
    log.error({}, 'leader election lost: another replica leads, exiting');
    return 1;
  } finally {
    await Promise.all(servers.map((server) => server.close()));
    await Promise.all([client.close(), signer?.client.close(), tracing?.shutdown()]);
  }
}

function probes(operator: Operator): Readonly<Record<string, PathHandler>> {
  return { '/healthz': probeHandler(() => undefined), '/readyz': probeHandler(() => operator.notReady) };
}

/** Undefined: no limit. */
function readRate(text: string): number | undefined {
  const rate = Number(text);
  if (text.trim() !== '' && rate >= 0 && rate <= MAX_REISSUES) return rate === 0 ? undefined : rate;
  throw new UsageError(`--max-reissues-per-second takes a number from 0 to ${MAX_REISSUES}; got "${text}"`);
}

/** Where the downward API says it. */
function podOf({ env }: CommandIo): { readonly name: string; readonly uid: string } | undefined {
  const [name, uid] = [env['POD_NAME'], env['POD_UID']];
  return name && uid ? { name, uid } : undefined;
}

function readShards(text: string, leaderElection: boolean): number {
  const shards = Number(text);
  if (!Number.isInteger(shards) || shards < 1 || shards > MAX_SHARDS) {
    throw new UsageError(`--shards takes a whole number from 1 to ${MAX_SHARDS}; got "${text}"`);
  }
  if (shards === 1 || leaderElection) return shards;
  throw new UsageError('--shards needs leader election: without Leases every replica would serve every shard');
}

function readWorkers(text: string): number {
  const workers = Number(text);
  if (Number.isInteger(workers) && workers >= 1 && workers <= MAX_WORKERS) return workers;
  throw new UsageError(`--workers takes a whole number from 1 to ${MAX_WORKERS}; got "${text}"`);
}
