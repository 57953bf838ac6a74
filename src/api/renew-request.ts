/**
 * How a person asks for a DelegatedCredential's credentials to be re-issued now: an annotation with the time of the request,
 * written by `dcred renew` or by `kubectl annotate`.
 */
import { formatRfc3339Milli, parseRfc3339 } from '../text/rfc3339.ts';

/** In seconds since the epoch, with their fraction; NaN for text that is not a time, which requests nothing. */
export function readRenewRequest(text: string): number {
  return parseRfc3339(text) / 1000;
}

/** `seconds` since the epoch. To the millisecond, so that two requests differ. */
export function formatRenewRequest(seconds: number): string {
  return formatRfc3339Milli(seconds * 1000);
}
