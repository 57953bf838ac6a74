/**
 * A view from the past: what an operator sees after a restart against an API server whose watch cache lags. Lists are answered as of an
 * older version (the API server still has it), and what has happened since is held back until `release`. Writes and reads of single
 * objects see the present, as in a real cluster.
 */
import type { IncomingMessage } from 'node:http';
import type { Exchange } from './exchange.ts';
import type { WatchPipe } from './watch-pipe.ts';

export class PastView {
  readonly resourceVersion: string;
  readonly #pipes = new Set<WatchPipe>();
  #isReleased = false;

  constructor(resourceVersion: string) {
    this.resourceVersion = resourceVersion;
  }

  get isReleased(): boolean {
    return this.#isReleased;
  }

  /** The API server catches up. */
  release(): void {
    this.#isReleased = true;
    for (const pipe of this.#pipes) pipe.release();
    this.#pipes.clear();
  }

  hold(pipe: WatchPipe): void {
    if (this.#isReleased) return;
    pipe.hold();
    this.#pipes.add(pipe);
  }

  /** The same list, as it was. */
  listPath(url: string): string {
    const { pathname, searchParams } = new URL(url, 'https://proxy');
    if (this.#isReleased || searchParams.has('continue')) return url;
    searchParams.set('resourceVersion', this.resourceVersion);
    searchParams.set('resourceVersionMatch', 'Exact');
    return `${pathname}?${searchParams.toString()}`;
  }

  /** The same watch, from that version on. */
  watchPath(url: string): string {
    const { pathname, searchParams } = new URL(url, 'https://proxy');
    searchParams.delete('sendInitialEvents');
    searchParams.delete('resourceVersionMatch');
    searchParams.set('resourceVersion', this.resourceVersion);
    return `${pathname}?${searchParams.toString()}`;
  }
}

interface ListBody {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly object[] | null;
}

/** The old list in the form of the events with which a streaming list begins. */
export async function initialEvents(
  past: PastView,
  url: string,
  accept: string,
  send: (path: string, accept: string) => Promise<IncomingMessage>,
): Promise<readonly string[]> {
  const { pathname, searchParams } = new URL(url, 'https://proxy');
  for (const name of ['watch', 'allowWatchBookmarks', 'sendInitialEvents', 'timeoutSeconds']) searchParams.delete(name);
  const path = past.listPath(`${pathname}?${searchParams.toString()}`);
  const answer = await send(path, accept.replaceAll('PartialObjectMetadata', 'PartialObjectMetadataList'));
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString();
  if (answer.statusCode !== 200) throw new Error(`a list of the past was refused: ${answer.statusCode} ${text}`);
  const { apiVersion, items, kind, metadata } = JSON.parse(text) as ListBody;
  const type = { apiVersion, kind: kind.replace(/List$/, '') };
  const events = (items ?? []).map((item) => ({ type: 'ADDED', object: { ...type, ...item } }));
  const annotations = { 'k8s.io/initial-events-end': 'true' };
  const { resourceVersion } = metadata;
  const end = { type: 'BOOKMARK', object: { ...type, metadata: { resourceVersion, annotations } } };
  return [...events, end].map((event) => JSON.stringify(event));
}

export function isStreamingList({ query, verb }: Exchange): boolean {
  return verb === 'watch' && query.get('sendInitialEvents') === 'true';
}
