import { randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import type { AgentTemplate } from '../../admission/injection/agent-container.ts';
import { AGENT_RESOURCES_ANNOTATION, INJECT_KEY, RELOAD_ANNOTATION } from '../../api/keys.ts';
import { systemClock } from '../../kubernetes/clock.ts';
import { isDnsSubdomain } from '../../text/dns-name.ts';
import { VERSION } from '../../version.ts';
import { type Command, type CommandArguments, type CommandIo, type ExitStatus, UsageError } from '../command.ts';
import { type HttpServer, probeHandler, scrapes, serveHttp } from '../http-server.ts';
import { parseDuration } from '../options/duration.ts';
import { connect, createClient, KUBERNETES_OPTIONS, NAMESPACE_OPTION } from '../options/kubernetes-options.ts';
import { METRICS_AUTH_OPTION, scrapeAuthorizer } from '../options/metrics-guard.ts';
import { ADDRESS_OPTIONS, createLogger, LOG_OPTIONS, readAddress } from '../options/server-options.ts';
import { startTracing, traceApiCall } from '../options/tracing.ts';

export const webhookCommand: Command = {
  name: 'webhook',
  summary: 'run the admission server that injects credentials into pods',
  usage: 'webhook [options]',
  description:
    `Answers the API server when a pod with the label ${INJECT_KEY} is created: the pod gets a Secret name of its own, and ` +
    'that Secret as a volume. Issues and renews its own serving certificate, which all replicas share in a Secret, and keeps its CA ' +
    'in the MutatingWebhookConfiguration. Runs until SIGTERM or SIGINT.',
  example: 'dcred webhook --namespace dcred-system --service-name dcred-webhook --webhook-configuration dcred-webhook',
  options: {
    ...KUBERNETES_OPTIONS,
    namespace: {
      ...NAMESPACE_OPTION,
      help: "namespace of the Service and of the certificate's Secret; default: the pod's, or the context's",
    },
    'bind-address': {
      type: 'string',
      value: 'ADDRESS',
      default: ':8443',
      help: 'address of the HTTPS server that admits pods',
    },
    ...ADDRESS_OPTIONS,
    ...METRICS_AUTH_OPTION,
    'service-name': {
      type: 'string',
      value: 'NAME',
      default: 'dcred-webhook',
      help: 'Service by which the API server reaches the webhook',
    },
    host: {
      type: 'string',
      multiple: true,
      value: 'NAME',
      help: 'further name or address by which it is reached, for a configuration with a URL; may be repeated',
    },
    'cert-secret': {
      type: 'string',
      value: 'NAME',
      default: 'dcred-webhook-cert',
      help: 'Secret in which the replicas share the serving certificate',
    },
    'webhook-configuration': {
      type: 'string',
      value: 'NAME',
      default: 'dcred-webhook',
      help: 'MutatingWebhookConfiguration whose caBundle is kept up to date',
    },
    'agent-image': {
      type: 'string',
      value: 'IMAGE',
      help: `image of the agent that annotation ${RELOAD_ANNOTATION} requests; default: no agent is added`,
    },
    'agent-image-pull-policy': {
      type: 'string',
      value: 'POLICY',
      choices: ['IfNotPresent', 'Always', 'Never'],
      default: 'IfNotPresent',
      help: 'imagePullPolicy of the agent',
    },
    'agent-image-pull-secret': {
      type: 'string',
      multiple: true,
      value: 'NAME',
      help: 'Secret with registry credentials, added to pods that get an agent; may be repeated',
    },
    'agent-resources': {
      type: 'string',
      value: 'RESOURCES',
      help:
        'requests and limits of the agent, such as requests.cpu=5m,limits.memory=128Mi; empty: none. ' +
        `Annotation ${AGENT_RESOURCES_ANNOTATION} of a pod wins`,
    },
    'agent-probes': {
      type: 'string',
      value: 'KIND',
      choices: ['http', 'exec'],
      default: 'http',
      help: 'how the kubelet probes the agent; exec where a service mesh intercepts HTTP probes',
    },
    'gate-pods': {
      type: 'boolean',
      default: true,
      help: 'add a scheduling gate to each injected pod; the operator removes it once the Secret exists',
    },
    'shutdown-delay': {
      type: 'string',
      value: 'DURATION',
      default: '5s',
      help: 'how long to keep answering after SIGTERM, until every API server stopped using this replica',
    },
    ...LOG_OPTIONS,
  },
  run: runWebhook,
};

async function runWebhook(args: CommandArguments, io: CommandIo): Promise<ExitStatus> {
  const address = readAddress(args, 'bind-address');
  if (address === undefined) throw new UsageError('--bind-address: expected an address such as ":8443"; got "0"');
  const metricsAddress = readAddress(args, 'metrics-bind-address');
  const healthAddress = readAddress(args, 'health-probe-bind-address');
  const shutdownDelayMs = parseDuration(args.required('shutdown-delay'), '--shutdown-delay') * 1000;
  const hosts = readHosts(args);
  const agent = await readAgent(args);
  const log = createLogger(args.required('log-level'), io);
  // Loaded here: no other command needs the libraries that make certificates.
  const [{ WebhookMetrics }, { Webhook: WebhookServer }] = await Promise.all([
    import('../../admission/metrics.ts'),
    import('../../admission/webhook.ts'),
  ]);
  const tracing = await startTracing(io, 'dcred-webhook', log);
  const metrics = new WebhookMetrics(VERSION);
  metrics.engine.collectProcessMetrics();
  const connection = await connect(args, io);
  const client = createClient(connection, {
    observe: (call) => {
      metrics.engine.apiCall(call);
      traceApiCall(tracing, call);
    },
  });
  const namespace = args.string('namespace') ?? io.env['POD_NAMESPACE'] ?? connection.defaultNamespace;
  const webhook = new WebhookServer({
    client,
    address,
    secret: { namespace, name: args.required('cert-secret') },
    configuration: args.required('webhook-configuration'),
    names: [...serviceNames(args.required('service-name'), namespace), ...hosts],
    metrics,
    clock: systemClock,
    random: Math.random,
    randomBytes,
    injection: { agent, gatePods: args.boolean('gate-pods') },
    log,
    inServerSpan: tracing?.inServerSpan,
    shutdownDelayMs,
  });
  const authorize = scrapeAuthorizer(args, client, io.signal);
  const servers: HttpServer[] = [];
  try {
    const ready = probeHandler(() => webhook.problem);
    const probes = { '/healthz': probeHandler(() => undefined), '/readyz': ready };
    if (healthAddress !== undefined) servers.push(await serveHttp(healthAddress, probes));
    if (metricsAddress !== undefined)
      servers.push(await serveHttp(metricsAddress, scrapes(metrics.registry), authorize));
    // Last: where an address above is taken, this server must not be listening yet.
    await webhook.listen();
    log.info({ version: VERSION, server: connection.server, port: webhook.port }, 'starting');
    await webhook.run(io.signal);
    return 0;
  } finally {
    await Promise.all(servers.map((server) => server.close()));
    await Promise.all([client.close(), tracing?.shutdown()]);
  }
}

/** The API server connects to the first of these (apiserver: ServerName `<service>.<namespace>.svc`). */
function serviceNames(service: string, namespace: string): readonly string[] {
  return [`${service}.${namespace}.svc`, `${service}.${namespace}.svc.cluster.local`];
}

/** Undefined without an image: then no pod gets an agent. */
async function readAgent(args: CommandArguments): Promise<AgentTemplate | undefined> {
  const { AgentResourcesError, DEFAULT_RESOURCES, parseAgentResources } = await import(
    '../../admission/injection/agent-resources.ts'
  );
  const [image, resources] = [args.string('agent-image'), args.string('agent-resources')];
  const pullSecrets = args.strings('agent-image-pull-secret');
  const wrong = pullSecrets.find((name) => !isDnsSubdomain(name));
  if (wrong !== undefined)
    throw new UsageError(`--agent-image-pull-secret: expected the name of a Secret; got "${wrong}"`);
  try {
    const parsed = resources === undefined ? DEFAULT_RESOURCES : parseAgentResources(resources);
    if (image === undefined) return undefined;
    return {
      image,
      pullPolicy: args.required('agent-image-pull-policy'),
      pullSecrets,
      resources: parsed,
      probes: args.required('agent-probes') === 'exec' ? 'exec' : 'http',
    };
  } catch (error) {
    if (!(error instanceof AgentResourcesError)) throw error;
    throw new UsageError(`--agent-resources: ${error.message}`, { cause: error });
  }
}

function readHosts(args: CommandArguments): readonly string[] {
  const hosts = args.strings('host');
  const wrong = hosts.find((host) => isIP(host) === 0 && !isDnsSubdomain(host));
  if (wrong === undefined) return hosts;
  throw new UsageError(`--host: expected a DNS name in lower case or an IP address, without port; got "${wrong}"`);
}
