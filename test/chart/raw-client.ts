/** Requests to the API server exactly as written: an attacker uses no client library. */
import { request } from 'node:https';

export interface RawResponse {
  readonly status: number;
  /** The Status object's message where there is one. */
  readonly message: string;
}

interface RawRequest {
  readonly body?: unknown;
  readonly contentType?: string | undefined;
  /** Go through admission and validation, and store nothing. */
  readonly dryRun?: boolean;
}

export class RawClient {
  readonly #url: string;
  readonly #ca: string;
  readonly #token: string;

  constructor(url: string, ca: string, token: string) {
    this.#url = url;
    this.#ca = ca;
    this.#token = token;
  }

  request(method: string, path: string, options: RawRequest = {}): Promise<RawResponse> {
    const { body, contentType = 'application/json', dryRun = false } = options;
    const url = new URL(path, this.#url);
    if (dryRun) url.searchParams.set('dryRun', 'All');
    const headers = { authorization: `Bearer ${this.#token}`, 'content-type': contentType };
    return new Promise((resolve, reject) => {
      const sent = request(url, { method, headers, ca: this.#ca }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          resolve({ status: response.statusCode ?? 0, message: messageOf(Buffer.concat(chunks).toString()) });
        });
      });
      sent.on('error', reject);
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

function messageOf(text: string): string {
  try {
    const { message } = JSON.parse(text) as { readonly message?: unknown };
    return typeof message === 'string' ? message : '';
  } catch {
    return text;
  }
}
