/**
 * Counts the steps that a backtracking engine takes for a regular expression: a measure of its cost that no busy machine changes.
 * A plain backtracking matcher of the syntax in use; V8 does the same work, faster.
 */

type Node =
  | { readonly kind: 'char'; readonly test: (character: string) => boolean }
  | { readonly kind: 'assert'; readonly holds: (text: string, at: number) => boolean }
  | { readonly kind: 'seq' | 'alt'; readonly parts: readonly Node[] }
  | {
      readonly kind: 'repeat';
      readonly part: Node;
      readonly min: number;
      readonly max: number;
      readonly isLazy: boolean;
    }
  | { readonly kind: 'look'; readonly part: Node; readonly isNegative: boolean }
  | { readonly kind: 'same'; readonly group: number }
  | { readonly kind: 'group'; readonly part: Node; readonly index: number };

const SAMPLES = Array.from(
  'aAz0f9-_.:/ \t\n\r,;=+*!?#"\'\\()[]{}<>|&%$@~^`BEGINCTSMLHUPxkd\0\x1b\u00e9\u2028\u202e\u200b\ufeff',
);

class Parser {
  readonly #source: string;
  readonly #flags: string;
  #at = 0;
  #groups = 0;

  constructor({ flags, source }: RegExp) {
    this.#source = source;
    this.#flags = flags;
  }

  alternatives(): Node {
    const parts = [this.#sequence()];
    while (this.#eat('|')) parts.push(this.#sequence());
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : { kind: 'alt', parts };
  }

  #sequence(): Node {
    const parts: Node[] = [];
    while (this.#at < this.#source.length && !'|)'.includes(this.#source[this.#at] ?? ''))
      parts.push(this.#quantified());
    return { kind: 'seq', parts };
  }

  #quantified(): Node {
    const part = this.#atom();
    const match = /^(?:([*+?])|\{(\d+)(,?)(\d*)\})(\??)/.exec(this.#source.slice(this.#at, this.#at + 32));
    if (match === null) return part;
    this.#at += match[0].length;
    const [, sign, least = '0', comma, most, lazy] = match;
    const isLazy = lazy === '?';
    if (sign !== undefined) {
      return {
        kind: 'repeat',
        part,
        min: sign === '+' ? 1 : 0,
        max: sign === '?' ? 1 : Number.POSITIVE_INFINITY,
        isLazy,
      };
    }
    const open = most === '' ? Number.POSITIVE_INFINITY : Number(most);
    return { kind: 'repeat', part, min: Number(least), max: comma === '' ? Number(least) : open, isLazy };
  }

  #atom(): Node {
    if (this.#eat('(')) return this.#group();
    if (this.#eat('^')) return this.#edge((text, at) => text[at - 1], 0);
    if (this.#eat('$')) return this.#edge((text, at) => text[at], undefined);
    const start = this.#at;
    if (this.#eat('[')) {
      while (!this.#eat(']')) this.#at += this.#source[this.#at] === '\\' ? 2 : 1;
    } else if (this.#eat('\\')) {
      const escaped = /^(?:[pP]\{[^}]*\}|u\{[^}]*\}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[\s\S])/.exec(
        this.#source.slice(this.#at),
      );
      this.#at += escaped?.[0].length ?? 1;
    } else {
      this.#at += String.fromCodePoint(this.#source.codePointAt(this.#at) ?? 0).length;
    }
    return this.#character(this.#source.slice(start, this.#at));
  }

  #character(source: string): Node {
    if (source === '\\b' || source === '\\B') {
      const isWord = (character: string | undefined) => character !== undefined && /\w/.test(character);
      return {
        kind: 'assert',
        holds: (text, at) => (isWord(text[at - 1]) !== isWord(text[at])) === (source === '\\b'),
      };
    }
    if (/^\\[1-9]$/.test(source)) return { kind: 'same', group: Number(source[1]) };
    const pattern = new RegExp(`^(?:${source})$`, this.#flags.replaceAll(/[gymd]/g, ''));
    const known = new Map<string, boolean>();
    const test = (character: string) => {
      const found = known.get(character) ?? pattern.test(character);
      known.set(character, found);
      return found;
    };
    return { kind: 'char', test };
  }

  #group(): Node {
    const opening = /^\?(?:[:=!]|<[=!]|<\w+>)/.exec(this.#source.slice(this.#at, this.#at + 40))?.[0];
    this.#at += opening?.length ?? 0;
    const isCapture = opening === undefined || opening.endsWith('>');
    const index = isCapture ? ++this.#groups : 0;
    if (opening?.startsWith('?<=') || opening?.startsWith('?<!')) throw new Error('look-behind is not counted');
    const part = this.alternatives();
    this.#eat(')');
    if (opening === '?=' || opening === '?!') return { kind: 'look', part, isNegative: opening === '?!' };
    return isCapture ? { kind: 'group', part, index } : part;
  }

  #edge(neighbour: (text: string, at: number) => string | undefined, start: 0 | undefined): Node {
    const isMultiline = this.#flags.includes('m');
    return {
      kind: 'assert',
      holds: (text, at) => at === (start ?? text.length) || (isMultiline && neighbour(text, at) === '\n'),
    };
  }

  #eat(text: string): boolean {
    if (!this.#source.startsWith(text, this.#at)) return false;
    this.#at += text.length;
    return true;
  }
}

class BudgetError extends Error {}

/** Steps to search all of `text`; at most `budget`. */
function countSteps(expression: RegExp, text: string, budget: number): number {
  const root = new Parser(expression).alternatives();
  const isAnchored = !expression.flags.includes('m') && expression.source.startsWith('^') && root.kind === 'seq';
  const groups = new Map<number, string>();
  let steps = 0;
  const match = (node: Node, at: number, next: (at: number) => boolean): boolean => {
    steps += 1;
    if (steps > budget) throw new BudgetError();
    switch (node.kind) {
      case 'char':
        return at < text.length && node.test(text[at] ?? '') && next(at + 1);
      case 'assert':
        return node.holds(text, at) && next(at);
      case 'alt':
        return node.parts.some((part) => match(part, at, next));
      case 'look':
        return match(node.part, at, () => true) !== node.isNegative && next(at);
      case 'same': {
        const same = groups.get(node.group) ?? '';
        return text.startsWith(same, at) && next(at + same.length);
      }
      case 'group':
        return match(node.part, at, (end) => {
          groups.set(node.index, text.slice(at, end));
          return next(end);
        });
      case 'seq': {
        const from = (index: number, position: number): boolean => {
          const part = node.parts[index];
          return part === undefined ? next(position) : match(part, position, (end) => from(index + 1, end));
        };
        return from(0, at);
      }
      case 'repeat': {
        const again = (count: number, position: number): boolean => {
          const more = () =>
            count < node.max &&
            match(node.part, position, (end) => (end > position || count < node.min) && again(count + 1, end));
          if (count < node.min) return more();
          return node.isLazy ? next(position) || more() : more() || next(position);
        };
        return again(0, at);
      }
      default:
        return node satisfies never;
    }
  };
  try {
    let end = 0;
    for (let start = 0; start <= text.length; start = Math.max(start + 1, end)) {
      end = start;
      const isMatch = match(root, start, (found) => {
        end = found;
        return true;
      });
      if (isAnchored || expression.sticky || (isMatch && !expression.global)) break;
    }
  } catch (error) {
    if (!(error instanceof BudgetError)) throw error;
  }
  return steps;
}

/** A text that the node matches, as short as its minimum counts. */
function sample(node: Node, choice: number): string {
  switch (node.kind) {
    case 'char': {
      const all = SAMPLES.filter((character) => node.test(character));
      return all[choice % Math.max(1, all.length)] ?? '';
    }
    case 'alt':
      return sample(node.parts[choice % node.parts.length] ?? { kind: 'seq', parts: [] }, choice);
    case 'seq':
      return node.parts.map((part) => sample(part, choice)).join('');
    case 'repeat':
      return sample(node.part, choice).repeat(node.min);
    case 'group':
      return sample(node.part, choice);
    case 'assert':
    case 'look':
    case 'same':
      return '';
    default:
      return node satisfies never;
  }
}

interface Attack {
  readonly prefix: string;
  readonly pump: string;
}

/** For every repetition in the expression: what leads to it, and what it repeats. */
function attacksOn(node: Node, prefix: string, choice: number): readonly Attack[] {
  switch (node.kind) {
    case 'seq':
      return node.parts.flatMap((part, index) =>
        attacksOn(part, prefix + sample({ kind: 'seq', parts: node.parts.slice(0, index) }, choice), choice),
      );
    case 'alt':
      return node.parts.flatMap((part) => attacksOn(part, prefix, choice));
    case 'group':
    case 'look':
      return attacksOn(node.part, prefix, choice);
    case 'repeat':
      return [
        { prefix, pump: sample(node.part, choice) },
        { prefix: '', pump: prefix + sample(node.part, choice) },
        ...attacksOn(node.part, prefix, choice),
      ];
    case 'assert':
    case 'char':
    case 'same':
      return [];
    default:
      return node satisfies never;
  }
}

const SUFFIXES = ['', '\0', '!', '\n', '\n!', ' x'];
const CHOICES = [0, 1, 2, 5, 11];

/** The steps that the worst of many hostile texts costs, for texts of two lengths: their ratio tells the growth. */
export function worstGrowth(
  expression: RegExp,
  short: number,
): { readonly exponent: number; readonly steps: number; readonly text: string } {
  const root = new Parser(expression).alternatives();
  const attacks = CHOICES.flatMap((choice) => [
    ...attacksOn(root, '', choice),
    { prefix: '', pump: sample(root, choice) },
    { prefix: '', pump: sample(root, choice).slice(0, -1) },
  ]);
  const unique = new Map(attacks.filter(({ pump }) => pump !== '').map((one) => [JSON.stringify(one), one]));
  const grown = [...unique.values()].flatMap(({ prefix, pump }) =>
    SUFFIXES.map((suffix) => {
      const text = (length: number) => prefix + pump.repeat(Math.ceil(length / pump.length)) + suffix;
      const budget = 20 * short ** 2;
      const [before, after] = [
        countSteps(expression, text(short), budget),
        countSteps(expression, text(short * 2), budget),
      ];
      // Exponential: both end at the budget.
      const exponent = before > budget ? Number.POSITIVE_INFINITY : Math.log2(after / before);
      return { exponent, steps: after, text: text(short * 2) };
    }),
  );
  return grown.reduce((worst, one) => (one.exponent > worst.exponent ? one : worst), {
    exponent: 0,
    steps: 0,
    text: '',
  });
}
