/**
 * What the API server refuses to show of one kind of object: to a watch, or to the list that a signature needs. An open watch goes on
 * for minutes after the account lost its permission. Each namespace is reported once, until it is shown again.
 */
import { type ApiError, isApiError } from '../kubernetes/api-error.ts';

type Reader = 'list' | 'watch';

const REASONS: Readonly<Record<number, string>> = { 403: 'Forbidden', 404: 'NotFound' };

/** By an API server that answers: it may show the grants of other certificates. */
export function isRefusal({ status }: ApiError): boolean {
  return status in REASONS;
}

export class Refusals {
  readonly #onRefused: (namespace: string, reason: string) => void;
  readonly #reasons = new Map<string, ReadonlyMap<Reader, string>>();

  /** @param onRefused called once when a namespace begins to be refused */
  constructor(onRefused: (namespace: string, reason: string) => void) {
    this.#onRefused = onRefused;
  }

  /** By namespace. */
  get reasons(): ReadonlyMap<string, string> {
    return new Map([...this.#reasons].flatMap(([namespace, [first]]) => (first ? [[namespace, first[1]]] : [])));
  }

  refused(namespace: string, reader: Reader, reason: string): void {
    const before = this.#reasons.get(namespace);
    this.#reasons.set(namespace, new Map([...(before ?? []), [reader, reason]]));
    if (before === undefined) this.#onRefused(namespace, reason);
  }

  /** A watch began, which shows what a list would. */
  watched(namespace: string): void {
    this.#reasons.delete(namespace);
  }

  /** Notes how a list ends. An API server that does not answer refuses nothing. */
  async ofList<T>(namespace: string, list: Promise<T>): Promise<T> {
    try {
      const listed = await list;
      this.#listed(namespace);
      return listed;
    } catch (error) {
      const reason = isApiError(error) ? REASONS[error.status] : undefined;
      if (reason !== undefined) this.refused(namespace, 'list', reason);
      throw error;
    }
  }

  /** A watch may be refused all the same. */
  #listed(namespace: string): void {
    const watch = this.#reasons.get(namespace)?.get('watch');
    if (watch === undefined) this.#reasons.delete(namespace);
    else this.#reasons.set(namespace, new Map([['watch', watch]]));
  }
}
