/**
 * Traces, as the rest of dcred sees them: work in spans. What records them is loaded only where the environment asks for it
 * (open-telemetry.ts); otherwise `untraced` calls the work, and that is all.
 */

/** Names and numbers; never key material, never what users wrote in annotations. */
export type Attributes = Readonly<Record<string, string | number | boolean>>;

/** Runs the work in a span, which fails when the work throws, or by its result; spans of the work are inside of it. */
export type InSpan = <T>(
  name: string,
  attributes: Attributes,
  work: () => Promise<T>,
  failureOf?: (result: T) => unknown,
) => Promise<T>;

/** As `InSpan`, for a request from outside: the span continues the caller's trace where the headers name one (W3C Trace Context). */
export type InServerSpan = <T>(
  name: string,
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
  work: () => Promise<T>,
) => Promise<T>;

export interface Tracing {
  readonly inSpan: InSpan;
  readonly inServerSpan: InServerSpan;
  /** As `inSpan`, for a call that is made for several callers: inside of the first one's span, and linked to those of the others. */
  forAll<T>(callers: readonly Caller[], name: string, attributes: Attributes, work: () => Promise<T>): Promise<T>;
  /** Whose span is active, for `forAll`. */
  caller(): Caller;
  /** A span that has just ended, inside of the active one. Not recorded where none is active: a lease that is renewed is nobody's work. */
  ended(span: {
    readonly name: string;
    readonly attributes: Attributes;
    readonly seconds: number;
    readonly failed: boolean;
  }): void;
  /** The headers by which the called server continues the trace. */
  headers(): Readonly<Record<string, string>>;
  /** Exports what is left, for a few seconds at most. Never rejects. */
  shutdown(): Promise<void>;
}

declare const CALLER: unique symbol;
/** Opaque. */
export interface Caller {
  readonly [CALLER]: true;
}

export const untraced: InSpan = (_name, _attributes, work) => work();
export const untracedServer: InServerSpan = (_name, _headers, work) => work();
