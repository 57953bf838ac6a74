import { reviewToken } from '../../kubernetes/client/token-review.ts';
import { systemClock } from '../../kubernetes/clock.ts';
import { Deadline } from '../../kubernetes/deadline.ts';
import type { SignerConfig } from '../../signer/config.ts';
import { printable } from '../../text/printable.ts';
import { explainFileError } from '../../text/system-error.ts';
import { explainYamlError } from '../../text/yaml-error.ts';
import { VERSION } from '../../version.ts';
import {
  type Command,
  type CommandArguments,
  CommandError,
  type CommandIo,
  type ExitStatus,
  UsageError,
} from '../command.ts';
import { type HttpServer, probeHandler, scrapes, serveHttp } from '../http-server.ts';
import { readInputText } from '../options/input.ts';
import { connect, createClient, KUBERNETES_OPTIONS } from '../options/kubernetes-options.ts';
import { METRICS_AUTH_OPTION, scrapeAuthorizer } from '../options/metrics-guard.ts';
import { ADDRESS_OPTIONS, createLogger, LOG_OPTIONS, readAddress } from '../options/server-options.ts';
import { startTracing } from '../options/tracing.ts';
import { reloadFiles } from './reloaded-files.ts';
import { keySetsOf, readSignerFiles, signerFiles } from './signer-files.ts';

export const signerCommand: Command = {
  name: 'signer',
  summary: 'sign delegated credentials for operators that hold no key',
  usage: 'signer --config FILE --audit-log FILE --tls-cert FILE --tls-key FILE | verify-log FILE',
  description:
    'Holds the keys of delegation certificates, and signs delegated credentials and nothing else for the clients and grants of its ' +
    'configuration. Each signature and each refusal is a line of the audit log, chained by hashes; "signer verify-log FILE" checks ' +
    'that no line was changed or removed, and prints the number and hash of the last one. Runs until SIGTERM or SIGINT.',
  example: 'dcred signer --config signer.yaml --tls-cert tls.crt --tls-key tls.key --audit-log audit.jsonl',
  positionals: {
    min: 0,
    max: 2,
    complete: (given) => (given.length === 0 ? { kind: 'words', words: [{ word: 'verify-log' }] } : { kind: 'files' }),
  },
  options: {
    ...KUBERNETES_OPTIONS,
    config: { type: 'string', value: 'FILE', help: 'clients, certificates and grants, YAML or JSON' },
    'audit-log': { type: 'string', value: 'FILE', help: 'file to append to; created if missing' },
    'bind-address': { type: 'string', value: 'ADDRESS', default: ':8444', help: 'address to serve on, HTTPS' },
    'tls-cert': { type: 'string', value: 'FILE', help: 'serving certificate, PEM; reloaded when it changes' },
    'tls-key': { type: 'string', value: 'FILE', help: 'its private key, PEM' },
    'client-ca': {
      type: 'string',
      value: 'FILE',
      help: 'CA of client certificates, PEM; no client certificates when absent; reloaded when it changes',
    },
    'token-review': { type: 'boolean', help: "accept service account tokens of the signer's own cluster" },
    ...ADDRESS_OPTIONS,
    ...METRICS_AUTH_OPTION,
    ...LOG_OPTIONS,
  },

  async run(args, io) {
    const [action, file, ...rest] = args.positionals;
    if (action === undefined) return await serve(args, io);
    if (action !== 'verify-log' || file === undefined || rest.length > 0) {
      throw new UsageError(`expected no arguments, or "verify-log FILE"; got "${args.positionals.join(' ')}"`);
    }
    return await verifyLog(file, io);
  },
};

/** An API server that is silent for longer is away: the caller gets its 503 while it still waits. */
const REVIEW_MS = 3_000;

async function serve(args: CommandArguments, io: CommandIo): Promise<ExitStatus> {
  const address = readAddress(args, 'bind-address');
  if (address === undefined) throw new UsageError('--bind-address: expected an address such as ":8444"; got "0"');
  const [metricsAddress, healthAddress] = [
    readAddress(args, 'metrics-bind-address'),
    readAddress(args, 'health-probe-bind-address'),
  ];
  const auditLog = args.required('audit-log');
  const { signal } = io;
  const config = await readConfig(args.required('config'), signal);
  const log = createLogger(args.required('log-level'), io);
  const paths = {
    cert: args.required('tls-cert'),
    key: args.required('tls-key'),
    clientCa: args.string('client-ca'),
    issuers: config.issuers,
  };
  const files = await readSignerFiles(paths, signal);
  const [{ SignerMetrics }, { SignerProcess: Process }] = await Promise.all([
    import('../../signer/metrics.ts'),
    import('../../signer/signer.ts'),
  ]);
  const tracing = await startTracing(io, 'dcred-signer', log);
  const metrics = new SignerMetrics(VERSION);
  metrics.collectProcessMetrics();
  const reviews = args.boolean('token-review');
  const needsClient = reviews || args.boolean('metrics-auth') || needsApiServer(config);
  const client = needsClient ? createClient(await connect(args, io)) : undefined;
  const authorize = client && scrapeAuthorizer(args, client, signal);
  const signer = await Process.create({
    address,
    tls: files,
    config,
    keySets: keySetsOf(files),
    reviewToken:
      client === undefined || !reviews
        ? undefined
        : async (token, audience) => {
            using deadline = new Deadline(signal, systemClock, REVIEW_MS);
            return (await reviewToken(client, token, audience, deadline.signal))?.username;
          },
    client,
    auditLog,
    env: io.env,
    inServerSpan: tracing?.inServerSpan,
    metrics,
    clock: systemClock,
    log,
  });
  const servers: HttpServer[] = [];
  try {
    const readyz = probeHandler(
      () => signer.problem,
      () => signer.exceptions,
    );
    const probes = { '/healthz': probeHandler(() => undefined), '/readyz': readyz };
    if (healthAddress !== undefined) servers.push(await serveHttp(healthAddress, probes));
    if (metricsAddress !== undefined)
      servers.push(await serveHttp(metricsAddress, scrapes(metrics.registry), authorize));
    await signer.listen(signal);
    log.info({ version: VERSION, port: signer.port }, 'starting');
    await Promise.all([
      signer.run(signal),
      reloadFiles(
        signerFiles(paths, files, signer),
        { clock: systemClock, log, observe: (name, current) => metrics.file(name, current) },
        signal,
      ),
    ]);
    return 0;
  } finally {
    await signer.close();
    await Promise.all(servers.map((server) => server.close()));
    await Promise.all([client?.close(), tracing?.shutdown()]);
  }
}

function needsApiServer({ certificates, delegationGrants }: SignerConfig): boolean {
  return delegationGrants || certificates.some(({ directory }) => directory === undefined);
}

async function readConfig(path: string, signal: AbortSignal): Promise<SignerConfig> {
  const text = await readInputText(path, { what: "the signer's configuration", signal });
  const [{ load }, { parseSignerConfig, SignerConfigError }] = await Promise.all([
    import('js-yaml'),
    import('../../signer/config.ts'),
  ]);
  try {
    return parseSignerConfig(load(text));
  } catch (error) {
    if (error instanceof SignerConfigError) throw new CommandError(`${path}: ${error.message}`, { cause: error });
    throw new CommandError(`${path} cannot be parsed as YAML: ${explainYamlError(error)}`, { cause: error });
  }
}

async function verifyLog(path: string, io: CommandIo): Promise<ExitStatus> {
  const [{ open }, { LogVerifier, MAX_LINE_BYTES }] = await Promise.all([
    import('node:fs/promises'),
    import('../../signer/audit-log.ts'),
  ]);
  const unreadable = (cause: unknown) =>
    new CommandError(`cannot read the audit log: ${explainFileError(path, cause)}`, { cause });
  const file = await open(path, 'r').catch((cause: unknown) => {
    throw unreadable(cause);
  });
  const verifier = new LogVerifier();
  try {
    for await (const line of boundedLines(file.createReadStream({ autoClose: false }), MAX_LINE_BYTES)) {
      io.signal.throwIfAborted();
      if (!verifier.push(line)) break;
    }
  } catch (error) {
    throw io.signal.aborted ? error : unreadable(error);
  } finally {
    await file.close();
  }
  const result = verifier.end();
  if (result.ok) {
    io.stdout.write(`ok: ${result.lines} lines; last entry ${result.head.sequence - 1}, hash ${result.head.hash}\n`);
    return 0;
  }
  io.stdout.write(`line ${result.line}: ${printable(result.message)}\n`);
  return 1;
}

/** Lines without their end, a character for each byte; one that is longer than `maxBytes` is cut after one byte more, and then fits no hash. */
async function* boundedLines(stream: AsyncIterable<Buffer>, maxBytes: number): AsyncGenerator<string> {
  let pending = Buffer.alloc(0);
  for await (const chunk of stream) {
    pending = Buffer.concat([pending, chunk]);
    for (let end = pending.indexOf(0x0a); end !== -1; end = pending.indexOf(0x0a)) {
      yield pending.toString('latin1', 0, Math.min(end, maxBytes + 1));
      pending = pending.subarray(end + 1);
    }
    if (pending.length > 2 * maxBytes) pending = pending.subarray(0, maxBytes + 1);
  }
  if (pending.length > 0) yield pending.toString('latin1', 0, maxBytes + 1);
}
