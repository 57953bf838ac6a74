/**
 * What the shells' scripts, and kubectl, run at every press of the tab key. It speaks the protocol of Cobra, which is kubectl's: a
 * candidate a line, its description after a tab, and a directive in the last line.
 * https://github.com/spf13/cobra/blob/main/site/content/completions/_index.md
 */
import { printable } from '../../text/printable.ts';
import type { Command } from '../command.ts';
import { type Candidate, COMPLETE_COMMAND, type Expected } from '../expected.ts';
import { complete } from './complete.ts';

const DIRECTIVE = { files: 0, open: 2, noFiles: 4, directories: 16 } as const;

interface Offer {
  readonly candidates: readonly Candidate[];
  readonly directive: number;
}

/** `__complete -- WORD...`; the last word is the one that is typed. */
export function completeCommand(commands: () => readonly Command[]): Command {
  return {
    name: COMPLETE_COMMAND,
    summary: 'offer what may come next on a command line',
    usage: `${COMPLETE_COMMAND} -- WORD...`,
    description:
      'For the scripts of "dcred completion". Prints candidates and a directive, as commands made with Cobra do.',
    example: `dcred ${COMPLETE_COMMAND} -- status --`,
    options: {},
    positionals: { min: 0, max: Number.POSITIVE_INFINITY },
    async run({ positionals }, io) {
      const { expected, scope, typed } = complete(commands(), positionals.length === 0 ? [''] : positionals);
      const { candidates, directive } = await offer(expected, async (kind) => {
        const { liveNames } = await import('./live-names.ts');
        return await liveNames(kind, scope, io);
      });
      const fitting = candidates.filter(({ word }) => word.startsWith(typed) && isOneLine(word));
      io.stdout.write([...fitting.map(lineOf), `:${directive}`, ''].join('\n'));
      return 0;
    },
  };
}

type Names = (kind: Extract<Expected, { kind: 'names' }>['of']) => Promise<readonly string[]>;

async function offer(expected: Expected, names: Names): Promise<Offer> {
  switch (expected.kind) {
    case 'words': {
      const files = expected.orFiles === true ? DIRECTIVE.files : DIRECTIVE.noFiles;
      return { candidates: expected.words, directive: files + (expected.open === true ? DIRECTIVE.open : 0) };
    }
    case 'names': {
      const { except = [], of, prefix = '' } = expected;
      const found = (await names(of)).filter((name) => !except.includes(name));
      return { candidates: found.map((name) => ({ word: prefix + name })), directive: DIRECTIVE.noFiles };
    }
    case 'files':
      return { candidates: [], directive: DIRECTIVE.files };
    case 'directories':
      return { candidates: [], directive: DIRECTIVE.directories };
    case 'nothing':
      return { candidates: [], directive: DIRECTIVE.noFiles };
  }
}

/** A context of a kubeconfig may have any name: one that a shell would take for something else, or a terminal obey, is not offered. */
function isOneLine(word: string): boolean {
  return !word.startsWith(':') && printable(word) === word;
}

function lineOf({ description, word }: Candidate): string {
  return description === undefined ? word : `${word}\t${description}`;
}
