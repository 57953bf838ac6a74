/**
 * Node's timeouts of a server that anything in the pod network can reach. A connection that is never used costs little, because `Connections`
 * closes it where another one needs its place: it is not closed for its silence while a client may still use it, since a request that is
 * in transit then is lost.
 */

/** Longer than Go's clients keep an idle connection (90 s). */
const IDLE_MS = 120_000;
/** How often Node enforces them; every 30 s by default. */
const CHECK_MS = 1_000;

export const TIMEOUTS = Object.freeze({
  connectionsCheckingInterval: CHECK_MS,
  keepAliveTimeout: IDLE_MS,
  // Counted from when the connection was accepted. Clients open connections that they use later: Go's do, where another one became free meanwhile.
  headersTimeout: IDLE_MS,
  // Counted from there, too. The server's own clock has the time of a body.
  requestTimeout: 0,
});
