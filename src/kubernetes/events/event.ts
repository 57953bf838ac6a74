/** Events as events.k8s.io/v1 has them, within the lengths that its validation allows. Pure. */

import { formatRfc3339Micro } from '../../text/rfc3339.ts';
import type { KubernetesObject } from '../objects.ts';

/** What an event is about. */
export interface EventSubject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string | undefined;
  readonly name: string;
  readonly uid?: string | undefined;
}

export interface EventInput {
  readonly regarding: EventSubject;
  readonly related?: EventSubject | undefined;
  readonly type: 'Normal' | 'Warning';
  /** CamelCase, one word for machines: why. */
  readonly reason: string;
  /** CamelCase, one word: what was done, or tried. */
  readonly action: string;
  /** A sentence for people. */
  readonly note: string;
}

export interface EventSource {
  readonly controller: string;
  readonly instance: string;
  /** Of events about cluster-wide objects. */
  readonly namespace: string;
}

interface EventSeries {
  readonly count: number;
  readonly lastObservedTime: string;
}

export type EventObject = KubernetesObject<{
  readonly eventTime: string;
  readonly series?: EventSeries;
  readonly regarding: EventSubject;
  readonly related?: EventSubject;
  readonly type: string;
  readonly reason: string;
  readonly action: string;
  readonly note: string;
  readonly reportingController: string;
  readonly reportingInstance: string;
}>;

const MAX_NOTE_BYTES = 1024;
const MAX_WORD = 128;

/** Cut to so many bytes of UTF-8, never in the middle of a character. */
export function cutToBytes(text: string, max: number): string {
  if (Buffer.byteLength(text) <= max) return text;
  const ellipsis = '...';
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(max - ellipsis.length));
  return text.slice(0, read) + ellipsis;
}

/** What makes two events the same one, seen again. */
export function eventKey({ regarding, related, type, reason, action, note }: EventInput): string {
  const subject = (one: EventSubject | undefined) =>
    one === undefined ? [] : [one.apiVersion, one.kind, one.namespace ?? '', one.name, one.uid ?? ''];
  return JSON.stringify([subject(regarding), subject(related), type, reason, action, note]);
}

/**
 * The first of its kind.
 * @param suffix unique among the events about this object
 * @param now milliseconds since the epoch
 */
export function newEvent(input: EventInput, source: EventSource, suffix: string, now: number): EventObject {
  const { regarding, related, type, reason, action, note } = input;
  return {
    metadata: {
      // As client-go names them; a name has 253 characters at most.
      name: `${regarding.name.slice(0, 252 - suffix.length).replace(/[.-]+$/, '')}.${suffix}`,
      namespace: regarding.namespace ?? source.namespace,
    },
    eventTime: formatRfc3339Micro(now),
    regarding,
    ...(related !== undefined && { related }),
    type,
    reason: reason.slice(0, MAX_WORD),
    action: action.slice(0, MAX_WORD),
    note: cutToBytes(note, MAX_NOTE_BYTES),
    reportingController: source.controller,
    reportingInstance: source.instance.slice(0, MAX_WORD),
  };
}
