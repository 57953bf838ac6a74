/** A receiver of traces that decodes them by OpenTelemetry's own Go types: a program of 50 lines, built from Go modules (seconds, once). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BinariesError, ensureBuilt, type GoModule } from '../controlplane/go-module.ts';
import { Guardian } from '../support/guardian.ts';
import { freePort } from '../support/ports.ts';
import { eventually } from '../support/processes.ts';

const MODULE: GoModule<'otlp'> = {
  name: 'otlp',
  directory: import.meta.dirname,
  packages: { otlp: '.' },
  sources: ['main.go'],
  flags: () => ['-ldflags', '-s -w'],
  instead: '',
};

/** An attribute's value in protobuf's JSON mapping: integers are strings. */
interface Value {
  readonly stringValue?: string;
  readonly intValue?: string;
  readonly boolValue?: boolean;
}

interface KeyValue {
  readonly key: string;
  readonly value: Value;
}

interface RawSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes?: readonly KeyValue[];
  readonly links?: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly status?: { readonly code?: string; readonly message?: string };
}

interface Export {
  readonly path: string;
  readonly contentType: string;
  readonly authorization: string;
  readonly unknown: number;
  readonly traces: {
    readonly resourceSpans?: readonly {
      readonly resource: { readonly attributes: readonly KeyValue[] };
      readonly scopeSpans: readonly { readonly spans: readonly RawSpan[] }[];
    }[];
  };
}

type Attributes = Readonly<Record<string, string | boolean | undefined>>;

export interface ReceivedSpan extends Omit<RawSpan, 'attributes'> {
  readonly attributes: Attributes;
  readonly resource: Attributes;
}

export type FoundReceiver =
  | { readonly available: true; readonly start: () => Promise<TraceReceiver> }
  | { readonly available: false; readonly reason: string };

export async function findTraceReceiver(): Promise<FoundReceiver> {
  try {
    const binary = join(await ensureBuilt(MODULE, ['otlp']), 'otlp');
    return { available: true, start: () => TraceReceiver.start(binary) };
  } catch (error) {
    if (error instanceof BinariesError) return { available: false, reason: error.message };
    throw error;
  }
}

export class TraceReceiver implements AsyncDisposable {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly endpoint: string;
  readonly #guardian: Guardian;

  private constructor(guardian: Guardian, endpoint: string) {
    this.#guardian = guardian;
    this.endpoint = endpoint;
  }

  static async start(binary: string): Promise<TraceReceiver> {
    const port = await freePort();
    const guardian = await Guardian.start('otlp');
    guardian.startComponent({ name: 'otlp', binary, args: [String(port)] });
    const endpoint = `http://127.0.0.1:${port}`;
    await eventually('the receiver to answer', () => fetch(endpoint).catch(() => undefined));
    return new TraceReceiver(guardian, endpoint);
  }

  /** Everything that was received, as text. */
  async text(): Promise<string> {
    return await readFile(join(this.#guardian.directory, 'otlp.log'), 'utf8');
  }

  /** What it could decode; other exports are answered with an error. */
  async exports(): Promise<readonly Export[]> {
    const lines = (await this.text()).split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Export).filter(({ traces }) => traces.resourceSpans !== undefined);
  }

  async spans(): Promise<readonly ReceivedSpan[]> {
    return (await this.exports()).flatMap(({ traces }) =>
      (traces.resourceSpans ?? []).flatMap(({ resource, scopeSpans }) =>
        scopeSpans.flatMap(({ spans }) =>
          spans.map((span) => ({
            ...span,
            attributes: record(span.attributes),
            resource: record(resource.attributes),
          })),
        ),
      ),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#guardian.stop();
  }
}

function record(attributes: readonly KeyValue[] = []): Attributes {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue ?? value.boolValue]),
  );
}
