/**
 * Text from strangers (certificate subjects, DNS names, labels, file content) made safe to print, log and write into an
 * object. The one place that does it. Pure.
 */

/**
 * What a terminal obeys or a reader cannot see: C0 and C1 controls, line and paragraph separators, every format character
 * (bidirectional controls, zero-width characters, tags), other invisible ones, halves of surrogate pairs, noncharacters.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}]/gu;

/**
 * JSON (or lines of it) in which every unprintable character but the newlines between lines is a JSON escape: what is parsed from it
 * is the same, and what a terminal shows is harmless.
 */
export function printableJson(json: string): string {
  return json.replace(UNPRINTABLE, (character) =>
    character === '\n'
      ? character
      : Array.from({ length: character.length }, (_, index) => jsonEscape(character.charCodeAt(index))).join(''),
  );
}

function jsonEscape(unit: number): string {
  return `\\u${unit.toString(16).padStart(4, '0')}`;
}

const ESCAPE = '\u001b';
/** A colour, a redrawn line (only where a write begins and ends), newlines and tabs. */
export const TERMINAL = new RegExp(`(${ESCAPE}\\[[0-9;]{0,16}m|^\\r|${ESCAPE}\\[K$|[\\n\\t])`);

/**
 * What a program writes in one go: newlines, tabs, and on a terminal colours and a line that is drawn over pass, and every other
 * unprintable character is escaped. For the end of the way out, behind `printable` for each value.
 */
export function printableOutput(text: string, onTerminal: boolean): string {
  if (!onTerminal) return text.replace(UNPRINTABLE, (it) => (it === '\n' || it === '\t' ? it : escapeCharacter(it)));
  return text
    .split(TERMINAL)
    .map((part, index) => (index % 2 === 1 ? part : part.replace(UNPRINTABLE, escapeCharacter)))
    .join('');
}

const ELLIPSIS = '...';

/** For subjects and labels in messages: a Kubernetes condition holds 32,768 characters, an Event's note 1,024. */
const DEFAULT_MAX_LENGTH = 256;

/**
 * `text` with every unprintable character escaped (`\x1b`, `\u202e`, `\u{e0001}`), and at most `maxLength` UTF-16 units long:
 * what is cut ends in `...`, never within an escape or a surrogate pair. Costs O(maxLength), whatever the text's length.
 * Printing what is already printable changes nothing.
 */
export function printable(text: string, maxLength: number = DEFAULT_MAX_LENGTH): string {
  // Escapes only lengthen a text, so no more of it than this can matter.
  const escaped = text.slice(0, maxLength + 1).replace(UNPRINTABLE, escapeCharacter);
  if (text.length <= maxLength && escaped.length <= maxLength) return escaped;
  return cut(text, maxLength);
}

function cut(text: string, maxLength: number): string {
  const room = Math.max(0, maxLength - ELLIPSIS.length);
  let kept = '';
  for (const character of text) {
    const shown = character.replace(UNPRINTABLE, escapeCharacter);
    if (kept.length + shown.length > room) break;
    kept += shown;
  }
  return (kept + ELLIPSIS).slice(0, maxLength);
}

function escapeCharacter(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  const hex = code.toString(16);
  if (code <= 0xff) return `\\x${hex.padStart(2, '0')}`;
  return code <= 0xffff ? `\\u${hex.padStart(4, '0')}` : `\\u{${hex}}`;
}

/** The first `maxItems` of a list from a stranger, and how many more there are: never a longer list in a status or a message. */
export function firstItems<T>(
  items: readonly T[],
  maxItems: number,
): { readonly shown: readonly T[]; readonly omitted: number } {
  return { shown: items.slice(0, maxItems), omitted: Math.max(0, items.length - maxItems) };
}

/** A list in one line of text: each item printable, the first `maxItems` of them, and `and N more`. */
export function printableList(
  items: readonly string[],
  { maxItems = 20, separator = ', ' }: { readonly maxItems?: number; readonly separator?: string } = {},
): string {
  const { omitted, shown } = firstItems(items, maxItems);
  const list = shown.map((item) => printable(item)).join(separator);
  return omitted === 0 ? list : `${list}${separator}and ${omitted} more`;
}
