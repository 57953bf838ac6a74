import { RENEW_REQUESTED_AT } from '../../api/keys.ts';
import type { ApiClient } from '../../kubernetes/client/api-client.ts';
import { systemClock } from '../../kubernetes/clock.ts';
import {
  type Counts,
  describePending,
  nothingAwaited,
  notInTime,
  progressBar,
  progressLine,
  type RenewalProgress,
  summary,
} from '../../renew/progress.ts';
import { findTargets, type RenewTarget, type Request, requestRenewal, type Selection } from '../../renew/request.ts';
import { waitForRenewal } from '../../renew/wait.ts';
import { formatRfc3339 } from '../../text/rfc3339.ts';
import {
  type Command,
  type CommandArguments,
  CommandError,
  type CommandIo,
  type ExitStatus,
  UsageError,
} from '../command.ts';
import { resourcesExcept } from '../expected.ts';
import { parseDuration } from '../options/duration.ts';
import {
  connect,
  createClient,
  inNamespaces,
  KUBERNETES_OPTIONS,
  NAMESPACE_OPTION,
} from '../options/kubernetes-options.ts';
import { jsonText } from '../output.ts';

export const renewCommand: Command = {
  name: 'renew',
  summary: 're-issue credentials now',
  usage: 'renew NAME... | -l SELECTOR | -A [-n NAMESPACE] [--wait]',
  description:
    'Has the operator re-issue every credential of these DelegatedCredentials now: for a key that was stolen, or may ' +
    `have been. It writes the annotation ${RENEW_REQUESTED_AT}, so that the request outlives a restart of the operator. ` +
    'A credential cannot be revoked: a stolen one is valid until it expires. Where that is too long, replace and revoke the ' +
    'certificate. Exit status 1 when it could not be requested for one of them; the others are.',
  example: 'dcred renew web -n edge --wait\nedge/web: requested\nre-issued 20 of 20 credentials in 1.4 s (14.3/s)',
  options: {
    ...KUBERNETES_OPTIONS,
    namespace: { ...NAMESPACE_OPTION, help: "default: the context's" },
    all: { type: 'boolean', short: 'A', help: 'all of them: in every namespace, or with -n in that one' },
    selector: { type: 'string', short: 'l', value: 'SELECTOR', help: 'those with these labels, as kubectl takes it' },
    wait: {
      type: 'boolean',
      help: 'show progress until all are re-issued; exit status 1 when they are not in time',
    },
    timeout: { type: 'string', value: 'DURATION', default: '2m', help: 'how long to wait' },
    output: { type: 'string', short: 'o', value: 'FORMAT', choices: ['json'], help: 'print the outcome as JSON' },
  },
  positionals: { min: 0, max: Number.POSITIVE_INFINITY, complete: resourcesExcept },
  run: renew,
};

async function renew(args: CommandArguments, io: CommandIo): Promise<ExitStatus> {
  const timeoutMs = parseDuration(args.required('timeout'), '--timeout') * 1000;
  checkSelection(args);
  const connection = await connect(args, io);
  const client = createClient(connection);
  try {
    const selection = readSelection(args, connection.defaultNamespace);
    const targets = await findTargets(client, selection, io.signal);
    if (targets.length === 0)
      throw new CommandError(`no DelegatedCredential ${whereLooked(selection)}: nothing was changed`);
    const started = systemClock.monotonic();
    const request = await requestRenewal(client, targets, io.now(), io.signal);
    if (args.string('output') === undefined) io.stdout.write(describeRequest(request));
    if (request.failures.length > 0) io.stderr.write(describeFailures(request));
    if (!args.boolean('wait')) {
      if (args.string('output') === 'json') io.stdout.write(json(targets, request));
      return request.failures.length === 0 ? 0 : 1;
    }
    const active = request.requested.filter(({ suspended }) => !suspended);
    const progress = active.length === 0 ? NONE : await wait(client, active, request, timeoutMs, io);
    const seconds = (systemClock.monotonic() - started) / 1000;
    const complete = progress.pending.length === 0 && active.length === targets.length;
    if (args.string('output') === 'json') {
      io.stdout.write(json(targets, request, { progress, seconds, complete }));
    } else if (active.length === 0) {
      const { failures, requested } = request;
      io.stdout.write(`${nothingAwaited({ suspended: requested.length, failed: failures.length })}\n`);
    } else {
      io.stdout.write(`${summary(progress, seconds)}\n`);
    }
    if (progress.pending.length > 0) {
      io.stderr.write(`dcred renew: ${notInTime(progress)}\n${describePending(progress).join('\n')}\n`);
    }
    return complete ? 0 : 1;
  } finally {
    await client.close();
  }
}

const NONE: RenewalProgress = { total: 0, reissued: 0, pending: [] };

async function wait(
  client: ApiClient,
  targets: readonly RenewTarget[],
  { requestedAt }: Request,
  timeoutMs: number,
  io: CommandIo,
): Promise<RenewalProgress> {
  const display = new Display(io);
  const options = { client, clock: systemClock, random: Math.random, targets, timeoutMs };
  const moment = Math.ceil(requestedAt);
  const progress = await waitForRenewal({ ...options, moment, onProgress: (now) => display.show(now) }, io.signal);
  display.end();
  return progress;
}

function checkSelection(args: CommandArguments): void {
  const ways = [args.positionals.length > 0, args.boolean('all'), args.string('selector') !== undefined];
  if (ways[0] && (ways[1] || ways[2]))
    throw new UsageError('expected names, or -l SELECTOR, or -A: names go with neither of the others');
  if (!ways.includes(true))
    throw new UsageError('expected names of DelegatedCredentials, or -l SELECTOR, or -A for all');
}

function readSelection(args: CommandArguments, defaultNamespace: string): Selection {
  const given = args.string('namespace');
  return {
    namespace: args.boolean('all') ? given : (given ?? defaultNamespace),
    names: args.positionals.length > 0 ? args.positionals : undefined,
    labelSelector: args.string('selector'),
  };
}

function whereLooked({ labelSelector, namespace }: Selection): string {
  const where = inNamespaces(namespace);
  return labelSelector === undefined ? where : `has the labels "${labelSelector}" ${where}`;
}

function describeRequest({ requested, skewSeconds }: Request): string {
  const skew =
    skewSeconds === 0
      ? []
      : [
          `the clock of the API server differs from this one by ${skewSeconds} s: the request carries the server's time`,
        ];
  const lines = requested.map(({ name, namespace, suspended }) =>
    suspended
      ? `${namespace}/${name}: requested, but suspended: re-issued once spec.suspend is false`
      : `${namespace}/${name}: requested`,
  );
  return [...skew, ...lines, ''].join('\n');
}

function describeFailures({ failures, requested }: Request): string {
  const lines = failures.map(({ message, target }) => `  ${target.namespace}/${target.name}: ${message}`);
  const total = failures.length + requested.length;
  return [`dcred renew: not requested for ${failures.length} of ${total}:`, ...lines, ''].join('\n');
}

interface Waited {
  readonly progress: RenewalProgress;
  readonly seconds: number;
  readonly complete: boolean;
}

function json(targets: readonly RenewTarget[], { failures, requestedAt }: Request, waited?: Waited): string {
  const outcome = {
    requestedAt: formatRfc3339(Math.ceil(requestedAt)),
    resources: targets,
    failures: failures.map(({ message, target: { name, namespace } }) => ({ namespace, name, message })),
    ...(waited !== undefined && {
      complete: waited.complete,
      total: waited.progress.total,
      reissued: waited.progress.reissued,
      seconds: Number(waited.seconds.toFixed(3)),
      pending: waited.progress.pending.map(({ name, namespace, podName }) => ({
        namespace,
        pod: podName,
        secret: name,
      })),
    }),
  };
  return jsonText(outcome);
}

const REDRAW_MS = 100;
const LINE_MS = 1_000;

/** A progress bar on a terminal, and a line a second at most elsewhere. On standard error. */
class Display {
  readonly #io: CommandIo;
  readonly #started = systemClock.monotonic();
  #shownAt = Number.NEGATIVE_INFINITY;
  #last: Counts | undefined;
  #drawn = false;

  constructor(io: CommandIo) {
    this.#io = io;
  }

  show(progress: Counts): void {
    this.#last = progress;
    const pause = this.#onTerminal ? REDRAW_MS : LINE_MS;
    if (systemClock.monotonic() - this.#shownAt < pause) return;
    this.#draw(progress);
  }

  end(): void {
    if (this.#last !== undefined && this.#onTerminal) this.#draw(this.#last);
    if (this.#drawn && this.#onTerminal) this.#io.stderr.write('\n');
  }

  get #onTerminal(): boolean {
    return this.#io.stderr.isTTY === true;
  }

  #draw(progress: Counts): void {
    this.#shownAt = systemClock.monotonic();
    this.#drawn = true;
    const seconds = (this.#shownAt - this.#started) / 1000;
    this.#io.stderr.write(
      this.#onTerminal ? `\r${progressBar(progress, seconds)}\x1b[K` : `${progressLine(progress)}\n`,
    );
  }
}
