import { isAbsolute } from 'node:path';
import { mountPath } from '../../api/keys.ts';
import { parseReload, parseUrl, ReloadSpecError } from '../../api/reload-spec.ts';
import { USAGES, type Usage } from '../../credential/scheme.ts';
import { systemClock } from '../../kubernetes/clock.ts';
import type { Logger } from '../../kubernetes/log.ts';
import { VERSION } from '../../version.ts';
import { type Command, type CommandArguments, type CommandIo, type ExitStatus, UsageError } from '../command.ts';
import { formatDuration, parseDuration } from '../options/duration.ts';
import { createLogger, LOG_OPTIONS, readAddress } from '../options/server-options.ts';

export const agentCommand: Command = {
  name: 'agent',
  summary: 'reload a server when its mounted credential changes',
  usage: 'agent --dir DIRECTORY... [--reload HOW]... [options]',
  description:
    'A sidecar for servers that do not watch their files. It watches the directories where issued Secrets are mounted, verifies each ' +
    'new credential with its key and certificate, and then reloads the server: by a signal, a command or an HTTP request. Failed ' +
    'reloads are retried and reported. With --once it waits until every directory holds a valid credential and exits, as an init ' +
    'container does. To signal, the pod needs shareProcessNamespace: true, and both containers the same user.',
  example: `dcred agent --dir ${mountPath('web')} --reload signal:HUP:nginx`,
  options: {
    dir: {
      type: 'string',
      multiple: true,
      value: 'DIRECTORY',
      help: 'where an issued Secret is mounted; may be repeated',
    },
    reload: {
      type: 'string',
      multiple: true,
      value: 'HOW',
      help:
        'signal:HUP:nginx, signal:HUP:pid:/run/nginx.pid, exec:/bin/command ARGUMENT or ' +
        'http:POST:http://127.0.0.1:8080/reload; may be repeated',
    },
    confirm: { type: 'string', value: 'URL', help: 'URL to request after each reload: a 2xx answer confirms it' },
    'reload-at-start': {
      type: 'boolean',
      help: 'reload once at the start too, for servers that start earlier',
    },
    'reload-timeout': { type: 'string', value: 'DURATION', default: '10s', help: 'how long one reload may take' },
    usage: {
      type: 'string',
      value: 'USAGE',
      choices: USAGES,
      help: 'which side of TLS uses it; omitted: that of the first valid credential in each directory',
    },
    once: { type: 'boolean', help: 'wait until every credential is valid, and exit' },
    timeout: { type: 'string', value: 'DURATION', default: '2m', help: 'with --once: how long to wait' },
    poll: {
      type: 'string',
      value: 'DURATION',
      default: '10s',
      help: 'how often to read the directories when no change is notified',
    },
    'bind-address': {
      type: 'string',
      value: 'ADDRESS',
      default: ':9345',
      help: 'address that serves /metrics, /healthz and /readyz; 0 disables it',
    },
    'status-file': {
      type: 'string',
      value: 'FILE',
      help: 'where the agent writes whether it is ready, for --check',
    },
    check: { type: 'boolean', help: 'exit with 0 if the agent that writes --status-file is ready, and with 1 if not' },
    ...LOG_OPTIONS,
  },
  run: runAgent,
};

/** After a signal, a server that it ends has exited within this. */
const SETTLE_MS = 500;

async function runAgent(args: CommandArguments, io: CommandIo): Promise<ExitStatus> {
  const statusFile = args.string('status-file');
  if (args.boolean('check')) return await checkStatus(statusFile, io);
  const directories = readDirectories(args);
  const targets = args.strings('reload').map((text) => readOption('--reload', () => parseReload(text)));
  const confirm = args.string('confirm');
  const address = readAddress(args, 'bind-address');
  const once = args.boolean('once');
  const timeoutMs = readMilliseconds(args, 'timeout');
  // Loaded here: no other command pays for it.
  const { Agent } = await import('../../agent/agent.ts');
  const { AgentMetrics } = await import('../../agent/metrics.ts');
  const { describeReload } = await import('../../api/reload-spec.ts');
  const log = createLogger(args.required('log-level'), io);
  const [pollMs, reloadMs] = [readMilliseconds(args, 'poll'), readMilliseconds(args, 'reload-timeout')];
  const metrics = new AgentMetrics(VERSION, targets.map(describeReload));
  const agent = new Agent({
    directories,
    targets: once ? [] : targets,
    usage: args.string('usage') as Usage | undefined,
    reloadAtStart: args.boolean('reload-at-start'),
    confirm: confirm === undefined ? undefined : readOption('--confirm', () => parseUrl(confirm)),
    timeoutMs: reloadMs,
    settleMs: SETTLE_MS,
    pollMs,
    clock: systemClock,
    random: Math.random,
    log,
    metrics,
    ...(statusFile === undefined
      ? {}
      : { onStatus: statusWriter(statusFile, STATUS_POLLS * pollMs + targets.length * reloadMs, log) }),
  });
  if (once) return await waitOnce(agent, timeoutMs, io);
  log.info({ version: VERSION, directories, targets: targets.map(describeReload) }, 'starting');
  const server = address === undefined ? undefined : await serve(address, agent, metrics);
  try {
    await agent.run(io.signal);
    return 0;
  } finally {
    await server?.close();
  }
}

/** Polls that may be missed, on a busy node and beside the reloads of a pass, before a status counts as that of an agent that hangs. */
const STATUS_POLLS = 6;

function statusWriter(path: string, validMs: number, log: Logger) {
  return async (problem: string | undefined): Promise<void> => {
    const { writeStatus } = await import('../../agent/status-file.ts');
    await writeStatus(path, problem, systemClock.now() + validMs).catch((error: unknown) =>
      log.error({ path, err: error }, 'failed to write the status file'),
    );
  };
}

async function checkStatus(path: string | undefined, io: CommandIo): Promise<ExitStatus> {
  if (path === undefined) throw new UsageError('--check needs --status-file, the one of the running agent');
  const { readStatus } = await import('../../agent/status-file.ts');
  const problem = await readStatus(path, io.now());
  if (problem === undefined) return 0;
  io.stderr.write(`dcred agent: not ready: ${problem}\n`);
  return 1;
}

type Agent = import('../../agent/agent.ts').Agent;
type AgentMetrics = import('../../agent/metrics.ts').AgentMetrics;

async function waitOnce(agent: Agent, timeoutMs: number, io: CommandIo): Promise<ExitStatus> {
  const done = new AbortController();
  void agent.firstReady.then(() => done.abort());
  const timer = systemClock.setTimeout(() => done.abort(), timeoutMs);
  await agent.run(AbortSignal.any([io.signal, done.signal]));
  timer.cancel();
  const problem = agent.problem();
  if (problem === undefined) return 0;
  io.stderr.write(`dcred agent: not ready after ${formatDuration(timeoutMs / 1000)}: ${problem}\n`);
  return 1;
}

async function serve(address: NonNullable<ReturnType<typeof readAddress>>, agent: Agent, metrics: AgentMetrics) {
  const { METRICS_TYPE } = await import('../../agent/metrics.ts');
  const { probeHandler, serveHttp } = await import('../http-server.ts');
  const scrape = async () => ({
    status: 200,
    type: METRICS_TYPE,
    body: metrics.render(agent.problem() === undefined),
  });
  return await serveHttp(address, {
    '/metrics': scrape,
    '/healthz': probeHandler(() => undefined),
    '/readyz': probeHandler(() => agent.problem()),
  });
}

function readDirectories(args: CommandArguments): readonly string[] {
  const directories = [...new Set(args.strings('dir'))];
  if (directories.length === 0) throw new UsageError('--dir DIRECTORY is required: where an issued Secret is mounted');
  const relative = directories.find((directory) => !isAbsolute(directory));
  if (relative !== undefined) throw new UsageError(`--dir takes an absolute path; got "${relative}"`);
  return directories;
}

function readMilliseconds(args: CommandArguments, option: string): number {
  const seconds = parseDuration(args.required(option), `--${option}`);
  if (seconds > 0) return seconds * 1000;
  throw new UsageError(`--${option} takes a duration of a second or more`);
}

function readOption<T>(option: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof ReloadSpecError) throw new UsageError(`${option}: ${error.message}`, { cause: error });
    throw error;
  }
}
