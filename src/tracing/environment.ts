/** Whether and how to trace, by OpenTelemetry's standard environment variables. Pure. The exporter reads its own (OTEL_EXPORTER_OTLP_*). */

type Environment = Readonly<Record<string, string | undefined>>;

export interface TracingEnvironment {
  /** Undefined: off. */
  readonly settings: TracingSettings | undefined;
  /** About variables that were passed over. */
  readonly warnings: readonly string[];
}

export interface TracingSettings {
  readonly serviceName: string;
  readonly sampler: SamplerSettings;
  readonly batch: BatchSettings;
}

export interface SamplerSettings {
  readonly kind: 'always_on' | 'always_off' | 'traceidratio';
  /** A caller's decision holds. */
  readonly parentBased: boolean;
  /** From 0 to 1; for `traceidratio`. */
  readonly ratio: number;
}

interface BatchSettings {
  readonly scheduledDelayMillis?: number;
  readonly exportTimeoutMillis?: number;
  readonly maxQueueSize?: number;
  readonly maxExportBatchSize?: number;
}

const DEFAULT_SAMPLER: SamplerSettings = { kind: 'always_on', parentBased: true, ratio: 1 };
const BATCH = {
  scheduledDelayMillis: 'OTEL_BSP_SCHEDULE_DELAY',
  exportTimeoutMillis: 'OTEL_BSP_EXPORT_TIMEOUT',
  maxQueueSize: 'OTEL_BSP_MAX_QUEUE_SIZE',
  maxExportBatchSize: 'OTEL_BSP_MAX_EXPORT_BATCH_SIZE',
} as const satisfies Readonly<Record<keyof BatchSettings, string>>;
const ENDPOINTS = ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT'] as const;
/** OpenTelemetry's default is to export to localhost; dcred exports nothing unless one of these is set. */
const WANTED_BY = ['OTEL_TRACES_EXPORTER', ...ENDPOINTS] as const;

/** `program` is the service's name where the environment gives none. */
export function readTracingEnvironment(env: Environment, program: string): TracingEnvironment {
  const warnings: string[] = [];
  return { settings: readSettings(env, program, warnings), warnings };
}

function readSettings(env: Environment, program: string, warnings: string[]): TracingSettings | undefined {
  // An empty value is as good as none (OpenTelemetry's specification).
  const value = (name: string) => env[name]?.trim() || undefined;
  if (value('OTEL_SDK_DISABLED')?.toLowerCase() === 'true') return undefined;
  if (WANTED_BY.every((name) => value(name) === undefined)) return undefined;
  const exporters = (value('OTEL_TRACES_EXPORTER') ?? 'otlp').split(',').map((name) => name.trim());
  if (exporters.includes('none')) return undefined;
  const unknown = exporters.filter((name) => name !== 'otlp');
  if (unknown.length > 0)
    warnings.push(`OTEL_TRACES_EXPORTER: expected otlp or none; found ${quoted(unknown.join(','))}`);
  if (!exporters.includes('otlp')) return undefined;
  // The one for traces takes the place of the other.
  const endpoint = ENDPOINTS.find((name) => value(name) !== undefined);
  if (endpoint !== undefined && !isHttpUrl(value(endpoint) ?? '')) {
    // Not quoted, here and by the exporter: a password may be in it.
    warnings.push(
      `${endpoint}: expected a URL such as http://collector:4318; found another value, and exports nothing`,
    );
    return undefined;
  }
  const protocol = value('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL') ?? value('OTEL_EXPORTER_OTLP_PROTOCOL');
  if (protocol !== undefined && protocol !== 'http/protobuf') {
    warnings.push(
      `OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf, which is used (port 4318 of a collector); found ${quoted(protocol)}`,
    );
  }
  return {
    serviceName: value('OTEL_SERVICE_NAME') ?? program,
    sampler: readSampler(value('OTEL_TRACES_SAMPLER'), value('OTEL_TRACES_SAMPLER_ARG'), warnings),
    batch: readBatch(value, warnings),
  };
}

function isHttpUrl(text: string): boolean {
  const { hostname, protocol } = URL.parse(text) ?? {};
  return (protocol === 'http:' || protocol === 'https:') && !!hostname;
}

function readSampler(name: string | undefined, argument: string | undefined, warnings: string[]): SamplerSettings {
  if (name === undefined) return DEFAULT_SAMPLER;
  const [, parent, kind] = /^(parentbased_)?(always_on|always_off|traceidratio)$/.exec(name) ?? [];
  if (kind === undefined) {
    warnings.push(`OTEL_TRACES_SAMPLER: parentbased_always_on is used in place of ${quoted(name)}`);
    return DEFAULT_SAMPLER;
  }
  const ratio = argument === undefined ? 1 : Number(argument);
  const isRatio = ratio >= 0 && ratio <= 1;
  if (kind === 'traceidratio' && !isRatio) {
    warnings.push(`OTEL_TRACES_SAMPLER_ARG: 1 is used; expected a number from 0 to 1; found ${quoted(argument ?? '')}`);
  }
  return { kind: kind as SamplerSettings['kind'], parentBased: parent !== undefined, ratio: isRatio ? ratio : 1 };
}

function readBatch(value: (name: string) => string | undefined, warnings: string[]): BatchSettings {
  const settings = Object.entries(BATCH).flatMap(([key, name]) => {
    const text = value(name);
    if (text === undefined) return [];
    if (/^[1-9][0-9]{0,8}$/.test(text)) return [[key, Number(text)] as const];
    warnings.push(`${name}: expected a whole number from 1; found ${quoted(text)}`);
    return [];
  });
  return Object.fromEntries(settings);
}

/** What somebody wrote into a variable, for a log line. */
function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 60));
}
