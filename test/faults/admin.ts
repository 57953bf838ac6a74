/**
 * The suite's own client for the API server: JSON over HTTPS, and nothing of `src/kubernetes`, so that the judge of the operator does
 * not rely on the operator's engine.
 */
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';

interface Metadata {
  readonly name: string;
  readonly namespace?: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation?: number;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly { readonly kind: string; readonly name: string; readonly uid: string }[];
}

export interface ApiObject {
  readonly metadata: Metadata;
  readonly [field: string]: unknown;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** The API server answered something that the suite did not expect. */
class AdminError extends Error {
  readonly code = 'ADMIN';
  override readonly name = 'AdminError';
  readonly status: number;

  constructor(what: string, { body, status }: Answer) {
    super(`${what}: ${status} ${JSON.stringify(body).slice(0, 500)}`);
    this.status = status;
  }
}

interface Kubeconfig {
  readonly clusters: readonly [{ readonly cluster: Readonly<Record<string, string>> }];
  readonly users: readonly [{ readonly user: Readonly<Record<string, string>> }];
}

export interface Access {
  readonly server: URL;
  readonly ca: string;
  readonly certificate?: string;
  readonly key?: string;
  readonly token?: string;
}

/** Reads what `testing/controlplane` writes: a kubeconfig in JSON. */
export function readAccess(kubeconfig: string): Access {
  const { clusters, users } = JSON.parse(readFileSync(kubeconfig, 'utf8')) as Kubeconfig;
  const [{ cluster }] = clusters;
  const [{ user }] = users;
  const decode = (text: string | undefined) => Buffer.from(text ?? '', 'base64').toString();
  const access = { server: new URL(cluster['server'] ?? ''), ca: decode(cluster['certificate-authority-data']) };
  const { token } = user;
  if (token !== undefined) return { ...access, token };
  return {
    ...access,
    certificate: decode(user['client-certificate-data']),
    key: decode(user['client-key-data']),
  };
}

const TIMEOUT_MS = 60_000;

export class Admin implements Disposable {
  readonly #access: Access;
  readonly #agent: Agent;

  constructor(access: Access) {
    this.#access = access;
    const { ca, certificate: cert, key } = access;
    this.#agent = new Agent({ ca, keepAlive: true, ...(cert === undefined ? {} : { cert, key }) });
  }

  /** Resolves with any answer; rejects only when there is none. */
  call(method: string, path: string, body?: object, contentType = 'application/json'): Promise<Answer> {
    const { server, token } = this.#access;
    const text = body === undefined ? undefined : JSON.stringify(body);
    const headers: Record<string, string> = { accept: 'application/json' };
    if (token !== undefined) headers['authorization'] = `Bearer ${token}`;
    if (text !== undefined) headers['content-type'] = contentType;
    return new Promise((resolve, reject) => {
      const url = new URL(path, server);
      const sent = request(url, { method, headers, agent: this.#agent, timeout: TIMEOUT_MS }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.once('error', reject);
        response.once('end', () => {
          const answer = Buffer.concat(chunks).toString();
          resolve({ status: response.statusCode ?? 0, body: answer === '' ? undefined : parse(answer) });
        });
      });
      sent.once('timeout', () => sent.destroy(new Error(`${method} ${path}: no answer in ${TIMEOUT_MS} ms`)));
      sent.once('error', reject);
      sent.end(text);
    });
  }

  async get(path: string): Promise<ApiObject> {
    return (await this.#expect('GET', path)) as ApiObject;
  }

  async list(path: string): Promise<readonly ApiObject[]> {
    const { items } = (await this.#expect('GET', path)) as { readonly items: readonly ApiObject[] | null };
    return items ?? [];
  }

  /** The current version of a collection, from which a view from the past is taken later. */
  async resourceVersion(path: string): Promise<string> {
    return ((await this.#expect('GET', `${path}?limit=1`)) as ApiObject).metadata.resourceVersion;
  }

  async create(path: string, object: object): Promise<ApiObject> {
    return (await this.#expect('POST', path, object)) as ApiObject;
  }

  async patch(path: string, patch: object): Promise<ApiObject> {
    return (await this.#expect('PATCH', path, patch, 'application/merge-patch+json')) as ApiObject;
  }

  /** An object that is already gone is fine. */
  async delete(path: string): Promise<void> {
    const answer = await this.call('DELETE', `${path}?gracePeriodSeconds=0`);
    if (answer.status !== 404 && answer.status >= 300) throw new AdminError(`DELETE ${path}`, answer);
  }

  [Symbol.dispose](): void {
    this.#agent.destroy();
  }

  async #expect(method: string, path: string, body?: object, contentType?: string): Promise<unknown> {
    const answer = await this.call(method, path, body, contentType);
    if (answer.status >= 300) throw new AdminError(`${method} ${path}`, answer);
    return answer.body;
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

export const paths = {
  secrets: (namespace: string) => `/api/v1/namespaces/${namespace}/secrets`,
  pods: (namespace: string) => `/api/v1/namespaces/${namespace}/pods`,
  resources: (namespace: string) => `/apis/dcred.dev/v1alpha1/namespaces/${namespace}/delegatedcredentials`,
} as const;
