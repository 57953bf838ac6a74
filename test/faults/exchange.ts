/** One request to the API server as the suite names it: `patch secrets web-a`, whatever the namespace, and which of its kind it is. */
import type { IncomingMessage } from 'node:http';

type Verb = 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete';

export interface Exchange {
  readonly verb: Verb;
  /** With its subresource: `delegatedcredentials/status`. */
  readonly resource: string;
  readonly namespace: string | undefined;
  /** The object's name, or that of the one object that a list or watch selects. */
  readonly name: string | undefined;
  readonly query: URLSearchParams;
  /** The same in every run: verb, resource, name, and a count of such requests so far. */
  readonly key: string;
  /** Status of the API server's answer, or of the proxy's own; undefined until there is one. */
  status?: number;
}

/** A collection, one of its objects, or a subresource of one. */
const PATH =
  /^\/api(?:s\/[^/]+)?\/[^/]+(?:\/namespaces\/(?<namespace>[^/]+))?\/(?<plural>[^/]+)(?:\/(?<name>[^/]+)(?:\/(?<sub>[^/]+))?)?$/;

export class ExchangeNames {
  readonly #counts = new Map<string, number>();

  identify({ method = 'GET', url = '/' }: IncomingMessage): Exchange {
    const { pathname, searchParams: query } = new URL(url, 'https://proxy');
    const { name: named, namespace, plural = pathname, sub } = PATH.exec(pathname)?.groups ?? {};
    const resource = sub === undefined ? plural : `${plural}/${sub}`;
    const selected = /metadata\.name=([^,]+)/.exec(query.get('fieldSelector') ?? '')?.[1];
    const name = named ?? selected;
    const verb = verbOf(method, named, query);
    // The names of Events contain the time.
    const base = [verb, resource, ...(name === undefined || plural === 'events' ? [] : [name])].join(' ');
    const nth = (this.#counts.get(base) ?? 0) + 1;
    this.#counts.set(base, nth);
    return { verb, resource, namespace, name, query, key: `${base} #${nth}` };
  }
}

function verbOf(method: string, name: string | undefined, query: URLSearchParams): Verb {
  if (method === 'POST') return 'create';
  if (method === 'PUT') return 'update';
  if (method === 'PATCH') return 'patch';
  if (method === 'DELETE') return 'delete';
  if (['true', '1'].includes(query.get('watch') ?? '')) return 'watch';
  return name === undefined ? 'list' : 'get';
}
