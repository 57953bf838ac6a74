/** The flags that every long-running command shares, and how they are read. */
import { pino } from 'pino';
import type { Logger } from '../../kubernetes/log.ts';
import { explainOpenSsl } from '../../text/openssl-error.ts';
import { printableJson } from '../../text/printable.ts';
import { formatRfc3339Milli } from '../../text/rfc3339.ts';
import { type CommandArguments, type CommandIo, type OptionSpec, UsageError } from '../command.ts';
import { parseAddress } from '../http-server.ts';

const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;

export const LOG_OPTIONS = {
  'log-level': {
    type: 'string',
    value: 'LEVEL',
    default: 'info',
    choices: LOG_LEVELS,
    help: 'least severe level that is logged',
  },
} as const satisfies Readonly<Record<string, OptionSpec>>;

export const ADDRESS_OPTIONS = {
  'metrics-bind-address': {
    type: 'string',
    value: 'ADDRESS',
    default: ':8080',
    help: 'address that serves /metrics; 0 disables it',
  },
  'health-probe-bind-address': {
    type: 'string',
    value: 'ADDRESS',
    default: ':8081',
    help: 'address that serves /healthz and /readyz; 0 disables it',
  },
} as const satisfies Readonly<Record<string, OptionSpec>>;

/** Undefined: off. Throws UsageError. */
export function readAddress(args: CommandArguments, option: string): ReturnType<typeof parseAddress> {
  try {
    return parseAddress(args.required(option));
  } catch (error) {
    throw new UsageError(`--${option}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

/** JSON lines on standard error, printable. Errors are logged by class, code and message, never with other properties. */
export function createLogger(level: string, io: CommandIo): Logger {
  const options = {
    level,
    base: null,
    timestamp: () => `,"time":"${formatRfc3339Milli(io.now())}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError },
  };
  return pino(options, { write: (line: string) => void io.stderr.write(printableJson(line)) }) satisfies Logger;
}

function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return explainOpenSsl(String(error));
  const { code } = error as { readonly code?: unknown };
  return { class: error.name, ...(typeof code === 'string' ? { code } : {}), message: explainOpenSsl(error.message) };
}
