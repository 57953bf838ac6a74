import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { type AuditOptions, audit } from '../../audit/audit.ts';
import { type AuditScope, collectAudit, refresh } from '../../audit/collect.ts';
import { auditJson } from '../../audit/json.ts';
import { probePod } from '../../audit/probe-pod.ts';
import { auditReport } from '../../audit/report/document.ts';
import type { AuditResult } from '../../audit/result.ts';
import { formatAudit } from '../../audit/table.ts';
import type { ApiClient } from '../../kubernetes/client/api-client.ts';
import { systemClock } from '../../kubernetes/clock.ts';
import type { Connection } from '../../kubernetes/connection/connection.ts';
import { PortForwarder } from '../../kubernetes/port-forward/port-forwarder.ts';
import { explainWriteError } from '../../text/system-error.ts';
import { VERSION } from '../../version.ts';
import { type Command, type CommandArguments, CommandError, type CommandIo, UsageError } from '../command.ts';
import { resourcesExcept } from '../expected.ts';
import { parseDuration } from '../options/duration.ts';
import {
  assertFound,
  connect,
  createClient,
  inNamespaces,
  KUBERNETES_OPTIONS,
  NAMESPACE_OPTION,
  resourceNames,
} from '../options/kubernetes-options.ts';
import { METRICS_AUTH_OPTION } from '../options/metrics-guard.ts';
import { ADDRESS_OPTIONS, LOG_OPTIONS } from '../options/server-options.ts';
import { jsonText, wantsColour } from '../output.ts';
import { ProgressBar } from '../progress-bar.ts';

export const auditCommand: Command = {
  name: 'audit',
  summary: 'compare what every server serves with what its Secret holds',
  usage: 'audit [NAME...] [-n NAMESPACE | -A] [-l SELECTOR]',
  description:
    'Connects to every running pod of every DelegatedCredential, as a client that supports delegated credentials, and compares the ' +
    'credential and the certificate that it serves with those of its Secret. Prints a summary and the findings. Exit status 1 when ' +
    'there is a finding. Reads metadata of Secrets only. Port-forwards need permission to get and create pods/portforward.',
  example: 'dcred audit -A',
  positionals: { min: 0, max: Number.POSITIVE_INFINITY, complete: resourcesExcept },
  options: {
    ...KUBERNETES_OPTIONS,
    namespace: {
      ...NAMESPACE_OPTION,
      multiple: true,
      help: "namespace to audit; may be repeated; the context's when absent",
    },
    'all-namespaces': { type: 'boolean', short: 'A', help: 'audit all namespaces' },
    selector: { type: 'string', short: 'l', value: 'SELECTOR', help: 'only DelegatedCredentials with these labels' },
    via: {
      type: 'string',
      value: 'WAY',
      choices: ['port-forward', 'pod-ip'],
      help: 'how to reach the pods; default: pod-ip in a pod, port-forward elsewhere',
    },
    concurrency: { type: 'string', value: 'N', default: '64', help: 'servers to probe at the same time, 1 to 512' },
    timeout: { type: 'string', value: 'DURATION', default: '10s', help: 'limit for each server' },
    grace: {
      type: 'string',
      value: 'DURATION',
      default: '3m',
      help: 'how long after a re-issue a server may still serve the former credential',
    },
    every: {
      type: 'string',
      value: 'DURATION',
      help: 'audit again and again: metrics, an Event on each pod with a finding, and the condition Serving; for a pod in the cluster',
    },
    ...ADDRESS_OPTIONS,
    ...METRICS_AUTH_OPTION,
    ...LOG_OPTIONS,
    report: { type: 'string', value: 'FILE', help: 'write an HTML report too: one file, which loads nothing' },
    output: {
      type: 'string',
      short: 'o',
      value: 'FORMAT',
      choices: ['text', 'wide', 'json'],
      default: 'text',
      help: 'output format; wide: every pod, and not only findings',
    },
  },

  async run(args, io) {
    const limits = readLimits(args);
    const intervalSeconds = readInterval(args);
    const connection = await connect(args, io);
    const scope = readScope(args, connection.defaultNamespace);
    const forwarder = wayOf(args, io, connection);
    if (intervalSeconds !== undefined) {
      const { auditOnSchedule } = await import('./audit-schedule.ts');
      const optionsWith = (client: ApiClient) => auditOptions(client, forwarder, limits, io);
      await auditOnSchedule(args, io, { connection, scope, intervalSeconds, optionsWith });
      forwarder?.close();
      return 0;
    }
    const client = createClient(connection);
    const bar = new ProgressBar(io.stderr, 'audit');
    try {
      const input = await collectAudit(client, scope, io.signal);
      const found = input.resources.map(({ metadata }) => metadata.name);
      assertFound(found, scope.names, inNamespaces(scope.namespaces));
      const result = await audit(
        { ...auditOptions(client, forwarder, limits, io), input, onProgress: (done, total) => bar.show(done, total) },
        io.signal,
      );
      bar.clear();
      const report = args.string('report');
      if (report !== undefined) await writeReport(report, auditReport(result, VERSION), io.signal);
      io.stdout.write(output(result, args, io));
      return result.findings === 0 ? 0 : 1;
    } finally {
      bar.clear();
      forwarder?.close();
      await client.close();
    }
  },
};

interface Limits {
  readonly concurrency: number;
  readonly timeoutMs: number;
  readonly graceSeconds: number;
}

function readLimits(args: CommandArguments): Limits {
  const concurrency = Number(args.required('concurrency'));
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 512) {
    throw new UsageError('--concurrency takes a number from 1 to 512');
  }
  const timeout = parseDuration(args.required('timeout'), '--timeout');
  if (timeout < 1 || timeout > 300) throw new UsageError('--timeout takes 1s to 5m');
  return { concurrency, timeoutMs: timeout * 1000, graceSeconds: parseDuration(args.required('grace'), '--grace') };
}

/** Undefined: one audit. */
function readInterval(args: CommandArguments): number | undefined {
  const text = args.string('every');
  if (text === undefined) return undefined;
  const seconds = parseDuration(text, '--every');
  if (seconds < 10) throw new UsageError('--every takes 10s or more');
  const only = ['report', 'output'].find(
    (option) => args.string(option) !== (option === 'output' ? 'text' : undefined),
  );
  if (only !== undefined) throw new UsageError(`--${only} is for one audit: leave out --every`);
  return seconds;
}

function readScope(args: CommandArguments, defaultNamespace: string): AuditScope {
  const given = [...new Set(args.strings('namespace'))];
  const all = args.boolean('all-namespaces');
  if (all && given.length > 0) throw new UsageError('expected -n NAMESPACE or -A, not both');
  return {
    namespaces: all ? undefined : given.length > 0 ? given : [defaultNamespace],
    names: resourceNames(args),
    labelSelector: args.string('selector'),
  };
}

/** Undefined: straight to the pods' addresses, which are reachable from a pod and rarely from elsewhere. */
function wayOf(args: CommandArguments, io: CommandIo, connection: Connection): PortForwarder | undefined {
  const isPod = io.env['KUBERNETES_SERVICE_HOST'] !== undefined;
  const via = args.string('via') ?? (isPod ? 'pod-ip' : 'port-forward');
  return via === 'pod-ip' ? undefined : new PortForwarder(connection, { userAgent: `dcred/${VERSION}`, randomBytes });
}

function auditOptions(
  client: ApiClient,
  forwarder: PortForwarder | undefined,
  { concurrency, graceSeconds, timeoutMs }: Limits,
  io: CommandIo,
): Omit<AuditOptions, 'input'> {
  const dial = forwarder && ((...call: Parameters<PortForwarder['connect']>) => forwarder.connect(...call));
  const clock = { ...systemClock, now: () => io.now() };
  return {
    probe: (subject, signal) => probePod(subject, { dial, timeoutMs, clock }, signal),
    refresh: (subject, signal) => refresh(client, subject, signal),
    concurrency,
    graceSeconds,
    now: () => io.now(),
  };
}

async function writeReport(file: string, html: string, signal: AbortSignal): Promise<void> {
  try {
    await writeFile(file, html, { signal });
  } catch (cause) {
    if (signal.aborted) throw cause;
    throw new CommandError(`cannot write the report: ${explainWriteError(file, cause)}`, { cause });
  }
}

function output(result: AuditResult, args: CommandArguments, io: CommandIo): string {
  const format = args.string('output');
  if (format === 'json') return jsonText(auditJson(result));
  return formatAudit(result, { wide: format === 'wide', colour: wantsColour(io) });
}
