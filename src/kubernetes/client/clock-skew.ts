/** How far the local clock is from the API server's, by the `Date` header of its answers (RFC 9110 section 6.6.1). Pure. */

/** The header has whole seconds. */
const RESOLUTION_MS = 1000;

/** What one answer of the API server shows. */
export interface ClockMeasurement {
  /** Local minus server time. */
  readonly skewMs: number;
  /** Local wall minus monotonic clock when the answer came: whatever it differs by later, the wall clock was set by since. */
  readonly offsetMs: number;
}

/**
 * Local minus server time, in milliseconds: 0 where the header and the time of the exchange leave room for no difference at all, else
 * the smallest difference that explains them. So only a real skew shows, to within a second and the duration of the exchange.
 * @param date the header
 * @param sentMs local wall clock before the request
 * @param receivedMs local wall clock at the head of the answer
 * @returns undefined when the header is missing or is no date
 */
export function clockSkewMs(date: unknown, sentMs: number, receivedMs: number): number | undefined {
  const server = typeof date === 'string' ? Date.parse(date) : Number.NaN;
  if (Number.isNaN(server)) return undefined;
  const least = sentMs - (server + RESOLUTION_MS);
  const most = receivedMs - server;
  return least > 0 ? least : Math.min(most, 0);
}
