/** One HTTPS call on its own connection. */
import { once } from 'node:events';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { type RequestOptions, request } from 'node:https';

export interface HttpsAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Parsed JSON. */
  readonly body: unknown;
}

/** A POST where there is a body, else a GET. Rejects with the connection's error. */
export async function httpsCall(options: RequestOptions, body?: string): Promise<HttpsAnswer> {
  const sent = request({ host: '127.0.0.1', agent: false, method: body === undefined ? 'GET' : 'POST', ...options });
  sent.end(body);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    body: JSON.parse(Buffer.concat(chunks).toString()) as unknown,
  };
}
