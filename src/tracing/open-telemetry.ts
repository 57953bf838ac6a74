/** Traces by OpenTelemetry's own packages. Imported only where the environment asks for traces: see environment.ts. */
import { AsyncLocalStorage } from 'node:async_hooks';
import {
  type Context,
  DiagLogLevel,
  defaultTextMapGetter,
  defaultTextMapSetter,
  diag,
  type Link,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { setGlobalErrorHandler, W3CTraceContextPropagator } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BatchSpanProcessor,
  ParentBasedSampler,
  type Sampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { Clock } from '../kubernetes/clock.ts';
import { Deadline, untilAborted } from '../kubernetes/deadline.ts';
import type { Logger } from '../kubernetes/log.ts';
import { explainOpenSsl } from '../text/openssl-error.ts';
import type { SamplerSettings, TracingSettings } from './environment.ts';
import type { Attributes, Caller, InServerSpan, InSpan, Tracing } from './tracing.ts';

export interface OpenTelemetryOptions {
  readonly settings: TracingSettings;
  readonly version: string;
  /** The pod's name, or the host's. */
  readonly instance: string;
  readonly clock: Clock;
  readonly log: Logger;
}

const SHUTDOWN_MS = 5_000;
/** A collector that is down is not news at every attempt. */
const WARN_EVERY_MS = 60_000;
/** Longer values are cut off: names of Kubernetes have 253 characters at most. */
const MAX_ATTRIBUTE_LENGTH = 256;

export class OpenTelemetry implements Tracing {
  readonly #provider: TracerProvider;
  readonly #propagator = new W3CTraceContextPropagator();
  /** The context follows the work through its awaits. */
  readonly #contexts = new AsyncLocalStorage<Context>();
  readonly #clock: Clock;
  readonly #report: (problem: unknown) => void;

  constructor({ clock, instance, log, settings, version }: OpenTelemetryOptions) {
    this.#clock = clock;
    this.#report = reportProblems(log, clock);
    const own = { 'service.name': settings.serviceName, 'service.version': version, 'service.instance.id': instance };
    this.#provider = new TracerProvider({
      // What OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say comes before dcred's own.
      resource: resourceFromAttributes(own).merge(detectResources({ detectors: [envDetector] })),
      sampler: samplerOf(settings.sampler),
      spanLimits: { attributeValueLengthLimit: MAX_ATTRIBUTE_LENGTH },
      spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter(), ...settings.batch })],
    });
  }

  readonly inSpan: InSpan = (name, attributes, work, failureOf) =>
    this.#run(name, { attributes, kind: SpanKind.INTERNAL }, this.#active(), work, failureOf);

  readonly inServerSpan: InServerSpan = (name, headers, work) => {
    const caller = this.#propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter);
    return this.#run(name, { attributes: {}, kind: SpanKind.SERVER }, caller, work);
  };

  forAll<T>(callers: readonly Caller[], name: string, attributes: Attributes, work: () => Promise<T>): Promise<T> {
    const [first = ROOT_CONTEXT, ...others] = callers as unknown as readonly Context[];
    const links = others.flatMap((context): readonly Link[] => {
      const spanContext = trace.getSpanContext(context);
      return spanContext === undefined ? [] : [{ context: spanContext }];
    });
    return this.#run(name, { attributes, kind: SpanKind.CLIENT, links: [...links] }, first, work);
  }

  caller(): Caller {
    return this.#active() as unknown as Caller;
  }

  ended({ attributes, failed, name, seconds }: Parameters<Tracing['ended']>[0]): void {
    const context = this.#active();
    // What was started inside of a span may go on after it, such as a watch: that is not its work.
    if (trace.getSpan(context)?.isRecording() !== true) return;
    const endTime = this.#clock.now();
    const options = { attributes: { ...attributes }, kind: SpanKind.CLIENT, startTime: endTime - seconds * 1000 };
    const span = this.#tracer().startSpan(name, options, context);
    if (failed) span.setStatus({ code: SpanStatusCode.ERROR });
    span.end(endTime);
  }

  headers(): Readonly<Record<string, string>> {
    const headers: Record<string, string> = {};
    this.#propagator.inject(this.#active(), headers, defaultTextMapSetter);
    return headers;
  }

  async shutdown(): Promise<void> {
    using deadline = new Deadline(new AbortController().signal, this.#clock, SHUTDOWN_MS);
    await untilAborted(this.#provider.shutdown(), deadline.signal).catch(this.#report);
    diag.disable();
  }

  async #run<T>(
    name: string,
    {
      attributes,
      kind,
      links = [],
    }: { readonly attributes: Attributes; readonly kind: SpanKind; readonly links?: Link[] },
    parent: Context,
    work: () => Promise<T>,
    failureOf?: (result: T) => unknown,
  ): Promise<T> {
    const span = this.#tracer().startSpan(name, { attributes: { ...attributes }, kind, links }, parent);
    try {
      const result = await this.#contexts.run(trace.setSpan(parent, span), work);
      const failure = failureOf?.(result);
      if (failure !== undefined) fail(span, failure);
      return result;
    } catch (error) {
      fail(span, error);
      throw error;
    } finally {
      span.end();
    }
  }

  #active(): Context {
    return this.#contexts.getStore() ?? ROOT_CONTEXT;
  }

  #tracer() {
    return this.#provider.getTracer('dcred');
  }
}

/** By its code alone: a message may quote what others wrote. */
function fail(span: Span, error: unknown): void {
  const { code, name } = error instanceof Error ? (error as Error & { readonly code?: unknown }) : {};
  span.setStatus({ code: SpanStatusCode.ERROR });
  span.setAttribute('error.type', typeof code === 'string' ? code : (name ?? 'Error'));
}

function samplerOf({ kind, parentBased, ratio }: SamplerSettings): Sampler {
  const makers = {
    always_on: () => new AlwaysOnSampler(),
    always_off: () => new AlwaysOffSampler(),
    traceidratio: () => new TraceIdRatioBasedSampler(ratio),
  };
  const root = makers[kind]();
  return parentBased ? new ParentBasedSampler({ root }) : root;
}

/** OpenTelemetry's own complaints, such as a collector that does not answer. Returns what logs one more. */
function reportProblems(log: Logger, clock: Clock): (problem: unknown) => void {
  let reportedAt = Number.NEGATIVE_INFINITY;
  const report = (problem: unknown): void => {
    const now = clock.monotonic();
    if (now - reportedAt < WARN_EVERY_MS) return;
    reportedAt = now;
    const detail = problem instanceof Error ? `${problem.name}: ${problem.message}` : String(problem);
    log.warn({ detail: explainOpenSsl(detail).slice(0, 500) }, 'traces are not exported');
  };
  const ignore = (): void => {};
  diag.setLogger(
    { error: report, warn: report, info: ignore, debug: ignore, verbose: ignore },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  );
  setGlobalErrorHandler(report);
  return report;
}
