/** One request made with a stolen token, or by dcred itself. */
export interface Attempt {
  readonly method: 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'GET';
  readonly path: string;
  readonly body?: unknown;
  readonly contentType?: string;
  /** Opens a connection: the API server has no dry run for that. */
  readonly connects?: boolean;
  /** The API server refuses this to everyone, with this message. */
  readonly refusedAnyway?: RegExp;
}

export type Attempts = Readonly<Record<string, Attempt>>;

const MERGE = 'application/merge-patch+json';
export const STRATEGIC = 'application/strategic-merge-patch+json';
const JSON_PATCH = 'application/json-patch+json';
const APPLY = 'application/apply-patch+yaml';

export function create(path: string, body: object): Attempt {
  return { method: 'POST', path, body };
}

export function merge(path: string, body: object): Attempt {
  return { method: 'PATCH', path, body, contentType: MERGE };
}

export function jsonPatch(path: string, ...body: readonly object[]): Attempt {
  return { method: 'PATCH', path, body, contentType: JSON_PATCH };
}

export function apply(path: string, body: object): Attempt {
  return { method: 'PATCH', path: `${path}?fieldManager=dcred&force=true`, body, contentType: APPLY };
}

export function remove(path: string): Attempt {
  return { method: 'DELETE', path };
}
