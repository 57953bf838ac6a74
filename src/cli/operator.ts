import { randomUUID } from 'node:crypto';
import { pino } from 'pino';
import { systemClock } from '../kubernetes/clock.ts';
import { LeaderElector } from '../kubernetes/leader-election.ts';
import type { Logger } from '../kubernetes/log.ts';
import { type HttpServer, parseAddress, probe, serveHttp } from '../operator/http-server.ts';
import { OperatorMetrics } from '../operator/metrics.ts';
import { Operator } from '../operator/operator.ts';
import { VERSION } from '../version.ts';
import { type Command, type CommandArguments, type CommandIo, type ExitStatus, UsageError } from './command.ts';
import { connect, createClient, instanceName, KUBERNETES_OPTIONS } from './kubernetes-options.ts';

const LEASE_NAME = 'dcred-operator';
const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
const MAX_WORKERS = 256;

export const operatorCommand: Command = {
  name: 'operator',
  summary: 'run the controllers',
  usage: 'operator [-n NAMESPACE]... [options]',
  description:
    'Watches DelegatedCredential resources and issues a delegated credential to every selected pod, into a Secret of its own. ' +
    'Runs until SIGTERM or SIGINT; then it finishes what it has begun and gives up its lease.',
  example: 'dcred operator --kubeconfig ~/.kube/config -n edge -n shop --leader-elect=false',
  options: {
    ...KUBERNETES_OPTIONS,
    namespace: {
      type: 'string',
      short: 'n',
      multiple: true,
      value: 'NAMESPACE',
      help: 'serve this namespace only; may be repeated; default: all',
    },
    'leader-elect': { type: 'boolean', default: true, help: 'take turns with other replicas by a Lease' },
    'metrics-bind-address': {
      type: 'string',
      value: 'ADDRESS',
      default: ':8080',
      help: 'where /metrics is served; 0: nowhere',
    },
    'health-probe-bind-address': {
      type: 'string',
      value: 'ADDRESS',
      default: ':8081',
      help: 'where /healthz and /readyz are served; 0: nowhere',
    },
    workers: { type: 'string', value: 'N', default: '16', help: 'how many pods are worked on at a time' },
    'log-level': { type: 'string', value: 'LEVEL', default: 'info', choices: LOG_LEVELS, help: 'how much is logged' },
  },
  run: runOperator,
};

async function runOperator(args: CommandArguments, io: CommandIo): Promise<ExitStatus> {
  const workers = readWorkers(args.required('workers'));
  const metricsAddress = readAddress(args, 'metrics-bind-address');
  const healthAddress = readAddress(args, 'health-probe-bind-address');
  const log = createLogger(args.required('log-level'), io);
  const metrics = new OperatorMetrics(VERSION);
  metrics.collectProcessMetrics();
  const connection = await connect(args, io);
  const client = createClient(connection, (call) => metrics.apiCall(call));
  const instance = instanceName(io);
  const namespace = io.env['POD_NAMESPACE'] ?? connection.defaultNamespace;
  const shared = { client, clock: systemClock, random: Math.random, log };
  const operator = new Operator({
    ...shared,
    namespaces: args.strings('namespace'),
    workers,
    elector: args.boolean('leader-elect')
      ? new LeaderElector({ ...shared, namespace, name: LEASE_NAME, identity: `${instance}_${randomUUID()}` })
      : undefined,
    metrics,
    instance,
    namespace,
  });
  const servers = await serve(metricsAddress, healthAddress, metrics, operator);
  log.info({ version: VERSION, server: connection.server, workers }, 'starting');
  void operator.synced().then(() => log.info({ seconds: Number(process.uptime().toFixed(3)) }, 'caches synced'));
  try {
    const end = await operator.run(io.signal);
    if (end === 'released') return 0;
    log.error({}, 'the lease was lost: another replica leads now, and this process ends');
    return 1;
  } finally {
    await Promise.all(servers.map((server) => server.close()));
    await client.close();
  }
}

async function serve(
  metricsAddress: ReturnType<typeof parseAddress>,
  healthAddress: ReturnType<typeof parseAddress>,
  metrics: OperatorMetrics,
  operator: Operator,
): Promise<readonly HttpServer[]> {
  const servers: HttpServer[] = [];
  if (healthAddress !== undefined) {
    const notReady = () => (operator.hasSynced ? undefined : 'the caches are not filled yet');
    servers.push(await serveHttp(healthAddress, { '/healthz': probe(() => undefined), '/readyz': probe(notReady) }));
  }
  if (metricsAddress !== undefined) {
    const { registry } = metrics;
    const scrape = async () => ({ status: 200, type: registry.contentType, body: await registry.metrics() });
    servers.push(await serveHttp(metricsAddress, { '/metrics': scrape }));
  }
  return servers;
}

function readWorkers(text: string): number {
  const workers = Number(text);
  if (Number.isInteger(workers) && workers >= 1 && workers <= MAX_WORKERS) return workers;
  throw new UsageError(`--workers takes a whole number from 1 to ${MAX_WORKERS}; got "${text}"`);
}

function readAddress(args: CommandArguments, option: string): ReturnType<typeof parseAddress> {
  try {
    return parseAddress(args.required(option));
  } catch (error) {
    throw new UsageError(`--${option}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

/** JSON lines on standard error. Errors are logged by class, code and message, never with what they carry. */
function createLogger(level: string, io: CommandIo): Logger {
  const options = {
    level,
    base: null,
    timestamp: () => `,"time":"${new Date(io.now()).toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError, error: describeError },
  };
  return pino(options, { write: (line: string) => void io.stderr.write(line) }) satisfies Logger;
}

function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return String(error);
  const { code } = error as { readonly code?: unknown };
  return { class: error.name, ...(typeof code === 'string' ? { code } : {}), message: error.message };
}
