/** The Events that dcred wrote, newest last. */
import { API_GROUP } from '../api/keys.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import { listKept } from '../kubernetes/client/list-all.ts';
import type { EventObject, EventSubject } from '../kubernetes/events/event.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
import { EVENTS } from '../kubernetes/resource-type.ts';
import { formatRfc3339 } from '../text/rfc3339.ts';

export interface EventsOptions {
  /** Undefined: all namespaces. */
  readonly namespace: string | undefined;
  /** Only those about these DelegatedCredentials, or about a pod because of one of them. Undefined: all. */
  readonly names: readonly string[] | undefined;
  readonly type: string | undefined;
}

export interface ReportedEvent {
  readonly namespace: string;
  /** RFC 3339. */
  readonly lastSeen: string;
  readonly type: string;
  readonly reason: string;
  /** `pod/web-0`, as kubectl writes it. */
  readonly object: string;
  /** The resource on whose account it is about a pod. */
  readonly related?: string;
  readonly count: number;
  readonly note: string;
}

/** Whoever may create Events names dcred as the reporting controller and leaves out what they like: the API server checks little of them. */
type RawEvent = Omit<Partial<EventObject>, 'regarding' | 'related'> &
  KubernetesObject<{
    readonly regarding?: Partial<EventSubject>;
    readonly related?: Partial<EventSubject> | null;
    readonly deprecatedLastTimestamp?: string | null;
  }>;

/** Throws ApiError. */
export async function collectEvents(
  client: Pick<ApiClient, 'list'>,
  { names, namespace, type }: EventsOptions,
  signal: AbortSignal,
): Promise<readonly ReportedEvent[]> {
  const isWanted = (event: RawEvent): boolean =>
    event.reportingController?.startsWith(`${API_GROUP}/`) === true &&
    (type === undefined || event.type === type) &&
    (names === undefined || isAbout(event, names));
  const keep = (event: RawEvent) => (isWanted(event) ? readEvent(event) : undefined);
  const found = await listKept(client, EVENTS, { namespace }, keep, signal);
  return found.toSorted((a, b) => a.lastSeen.localeCompare(b.lastSeen));
}

function isAbout({ regarding, related }: RawEvent, names: readonly string[]): boolean {
  return [regarding, related].some((one) => one?.kind === 'DelegatedCredential' && names.includes(one.name ?? ''));
}

function readEvent(event: RawEvent): ReportedEvent {
  const { deprecatedLastTimestamp, eventTime, metadata, note, reason, regarding, related, series, type } = event;
  const seen = Date.parse(
    series?.lastObservedTime ?? eventTime ?? deprecatedLastTimestamp ?? metadata.creationTimestamp ?? '',
  );
  return {
    namespace: metadata.namespace ?? '',
    lastSeen: formatRfc3339(Number.isNaN(seen) ? 0 : Math.floor(seen / 1000)),
    type: type ?? '',
    reason: reason ?? '',
    object: nameOf(regarding),
    ...(nameOf(related) === '' ? {} : { related: nameOf(related) }),
    count: series?.count ?? 1,
    note: note ?? '',
  };
}

/** Empty without a kind. */
function nameOf(subject: Partial<EventSubject> | null | undefined): string {
  return subject?.kind === undefined ? '' : `${subject.kind.toLowerCase()}/${subject.name ?? ''}`;
}
