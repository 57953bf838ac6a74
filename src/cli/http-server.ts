/** A small HTTP server for probes and metrics. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type Clock, systemClock } from '../kubernetes/clock.ts';
import { Connections } from '../serving/connections.ts';
import { type ListenAddress, listen, portOf } from '../serving/listen.ts';
import { TIMEOUTS } from '../serving/timeouts.ts';
import { Turns } from '../serving/turns.ts';
import { explainConnectionError } from '../text/system-error.ts';

/** What a path answers. */
export type PathHandler = () => Promise<{ readonly status: number; readonly type: string; readonly body: string }>;

export interface HttpServer {
  /** The port that it listens on; where 0 was given, the free one that was found. */
  readonly port: number;
  close(): Promise<void>;
}

export class AddressError extends Error {
  readonly code = 'AddressInvalid';
  override readonly name = 'AddressError';
}

/** Kubelet and a few scrapers use a handful. */
const MAX_CONNECTIONS = 64;
const MAX_HEADER_BYTES = 32 * 1024;
/** From the headers until the answer was read. A client that reads no further would keep its place for ever; Prometheus waits for 10 s. */
const REQUEST_MS = 60_000;
const TEXT = 'text/plain; charset=utf-8';

/** `:8080`, `127.0.0.1:8080`, `[::1]:8080`; undefined for `0`, which disables it. Throws AddressError. */
export function parseAddress(text: string): { readonly host: string | undefined; readonly port: number } | undefined {
  if (text === '0') return undefined;
  const match = /^(?:\[([^\]\s]+)\]|([^:\s]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new AddressError(
      `expected an address such as ":8080" or "127.0.0.1:8080", or 0 to disable it; got "${text}"`,
    );
  }
  const host = match[1] ?? match[2];
  return { host: host === '' ? undefined : host, port };
}

/** Serves GET of exactly these paths. Rejects when the address cannot be bound. */
export async function serveHttp(
  address: ListenAddress,
  routes: Readonly<Record<string, PathHandler>>,
  authorize?: (authorization: string | undefined, address: string) => Promise<number>,
  clock: Pick<Clock, 'setTimeout'> = systemClock,
): Promise<HttpServer> {
  const connections = new Connections(MAX_CONNECTIONS);
  const turns = new Turns();
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    const timer = clock.setTimeout(() => request.socket.destroy(), REQUEST_MS);
    response.once('close', () => {
      timer.cancel();
      connections.end(request.socket);
    });
    // Not by URL, which throws for what any client may send: `GET //`.
    const [route = ''] = (request.url ?? '').split('?', 1);
    const answer = Object.hasOwn(routes, route) ? routes[route] : undefined;
    if (answer === undefined) {
      response.writeHead(404, { 'content-type': TEXT }).end();
      return;
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405, { 'content-type': TEXT, allow: 'GET, HEAD' }).end();
      return;
    }
    const answered = async () => {
      const { headers, socket } = request;
      const status = (await authorize?.(headers.authorization, socket.remoteAddress ?? '')) ?? 200;
      if (status !== 200) return { status, type: TEXT, body: '' };
      connections.begin(socket);
      return await answer();
    };
    answered().then(
      ({ body, status, type }) => {
        if (status === 401) response.setHeader('www-authenticate', 'Bearer realm="dcred"');
        response.writeHead(status, { 'content-type': type }).end(body);
      },
      () => response.writeHead(500, { 'content-type': TEXT }).end('failed\n'),
    );
  };
  const server = createServer({ ...TIMEOUTS, maxHeaderSize: MAX_HEADER_BYTES }, (request, response) => {
    const { socket } = request;
    void turns.take(socket, response).then((isNext) => (isNext ? handle(request, response) : socket.destroy()));
  });
  connections.limit(server);
  await listen(server, address).catch((cause: Error) => {
    throw new AddressError(explainConnectionError(cause), { cause });
  });
  return {
    port: portOf(server),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/**
 * A probe: 200 `ok`, or 503 with what is missing.
 * @param exception what is wrong and stops nothing else: a person reads it after the `ok`
 */
export function probeHandler(
  problem: () => string | undefined,
  exception: () => string | undefined = () => undefined,
): PathHandler {
  return async () => {
    const found = problem();
    if (found !== undefined) return { status: 503, type: TEXT, body: `${found}\n` };
    const except = exception();
    return { status: 200, type: TEXT, body: except === undefined ? 'ok\n' : `ok, except for ${except}\n` };
  };
}

/** What prom-client's Registry is to a scrape. */
interface MetricsSource {
  readonly contentType: string;
  metrics(): Promise<string>;
}

/** `/metrics`, in Prometheus' text format. */
export function scrapes(registry: MetricsSource): Readonly<Record<string, PathHandler>> {
  return { '/metrics': async () => ({ status: 200, type: registry.contentType, body: await registry.metrics() }) };
}
