/**
 * How a person asks for a DelegatedCredential's credentials to be re-issued now: an annotation with the time of the request,
 * written by `dcred renew` or by `kubectl annotate`.
 */

const RFC3339 = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/;

/** In seconds since the epoch, with their fraction; NaN for text that is not a time, which requests nothing. */
export function readRenewRequest(text: string): number {
  return RFC3339.test(text) ? Date.parse(text.toUpperCase()) / 1000 : Number.NaN;
}

/** `seconds` since the epoch. To the millisecond, so that two requests differ. */
export function formatRenewRequest(seconds: number): string {
  return new Date(Math.round(seconds * 1000)).toISOString();
}
