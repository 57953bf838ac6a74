/** Events as events.k8s.io/v1 has them, within the lengths that its validation allows. Pure. */

import { printable } from '../../text/printable.ts';
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
  /** CamelCase, one word for machines: why. At most 128 bytes are kept. */
  readonly reason: string;
  /** CamelCase, one word: what was done, or tried. */
  readonly action: string;
  /** A sentence for people. At most 1024 bytes are kept, unprintable characters escaped. */
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
const MAX_WORD_BYTES = 128;

/** Cut to at most `max` bytes of UTF-8, never in the middle of a character. */
export function cutToBytes(text: string, max: number): string {
  if (Buffer.byteLength(text) <= max) return text;
  const ellipsis = '...';
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(max - ellipsis.length));
  return text.slice(0, read) + ellipsis;
}

/**
 * The same within the API's limits (validation counts bytes), and printable: a note may quote foreign text, and kubectl prints it to a
 * terminal as it is. Done before anything is remembered, so that no text takes more memory than this.
 */
export function boundedInput(input: EventInput): EventInput {
  return {
    ...input,
    reason: cutToBytes(input.reason, MAX_WORD_BYTES),
    action: cutToBytes(input.action, MAX_WORD_BYTES),
    note: cutToBytes(printable(input.note, MAX_NOTE_BYTES), MAX_NOTE_BYTES),
  };
}

/** What two Events have in common when the second repeats the first. */
export function eventKey({ regarding, related, type, reason, action, note }: EventInput): string {
  const subject = (one: EventSubject | undefined) =>
    one === undefined ? [] : [one.apiVersion, one.kind, one.namespace ?? '', one.name, one.uid ?? ''];
  return JSON.stringify([subject(regarding), subject(related), type, reason, action, note]);
}

function withoutSeparatorsAtEnd(name: string): string {
  let end = name.length;
  while (end > 0 && (name[end - 1] === '.' || name[end - 1] === '-')) end -= 1;
  return name.slice(0, end);
}

/**
 * The first of its kind, from a bounded input.
 * @param suffix unique among the events about this object
 * @param now milliseconds since the epoch
 */
export function newEvent(input: EventInput, source: EventSource, suffix: string, now: number): EventObject {
  const { regarding, related, type, reason, action, note } = input;
  return {
    metadata: {
      // As client-go names them; a name has 253 characters at most.
      name: `${withoutSeparatorsAtEnd(regarding.name.slice(0, 252 - suffix.length))}.${suffix}`,
      namespace: regarding.namespace ?? source.namespace,
    },
    eventTime: formatRfc3339Micro(now),
    regarding,
    ...(related !== undefined && { related }),
    type,
    reason,
    action,
    note,
    reportingController: source.controller,
    reportingInstance: cutToBytes(source.instance, MAX_WORD_BYTES),
  };
}
