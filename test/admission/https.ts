/** An HTTPS client that trusts one authority, as the API server does. */
import { Agent, type RequestOptions, request } from 'node:https';

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

export interface HttpsTarget {
  readonly port: number;
  readonly ca: string;
  readonly agent?: Agent;
  /** In its certificate. Default: localhost. */
  readonly servername?: string;
}

/** The head of a review's request, as bytes go over a connection. */
export function rawHead(length: number): string {
  return `POST /inject HTTP/1.1\r\nHost: webhook\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;
}

export function send(
  { agent, ca, port, servername = 'localhost' }: HttpsTarget,
  options: Pick<RequestOptions, 'method' | 'path'> & {
    readonly headers?: Readonly<Record<string, string>>;
    readonly body?: string | Buffer;
  } = {},
): Promise<Reply> {
  const { body = '', headers = {}, method = 'POST', path = '/inject?timeout=10s' } = options;
  return new Promise((resolve, reject) => {
    const sent = request({
      host: '127.0.0.1',
      servername,
      port,
      ca,
      method,
      path,
      agent: agent ?? new Agent({ maxCachedSessions: 0 }),
      headers: { 'content-type': 'application/json', ...headers },
    });
    sent.once('error', reject);
    sent.once('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: Buffer.concat(chunks).toString(),
        }),
      );
    });
    sent.end(body);
  });
}
