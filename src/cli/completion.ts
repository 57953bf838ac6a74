import { COMMON_OPTIONS } from './arguments.ts';
import { type Command, UsageError } from './command.ts';

type Script = (commands: readonly Command[]) => string;

const scripts: Readonly<Record<string, Script>> = { bash, zsh, fish };
const SHELLS = Object.keys(scripts);

/** `commands`: all others; the completion knows their options and choices from their own tables. */
export function completionCommand(commands: () => readonly Command[]): Command {
  return {
    name: 'completion',
    summary: 'print a completion script for bash, zsh or fish',
    usage: 'completion bash|zsh|fish',
    description:
      'Prints a script that completes commands, options and their values, for the shell to read at its start.',
    example: 'source <(dcred completion bash)',
    options: {},
    positionals: { min: 1, max: 1 },
    async run(args, io) {
      const [shell = ''] = args.positionals;
      const script = scripts[shell];
      if (script === undefined || !Object.hasOwn(scripts, shell)) {
        throw new UsageError(`dcred completion: expected one of ${SHELLS.join(', ')}; got "${shell}"`);
      }
      io.stdout.write(script(commands()));
      return 0;
    },
  };
}

/** One case a command; values with fixed choices complete to them, all others to files. */
function bash(commands: readonly Command[]): string {
  const names = commands.map(({ name }) => name).join(' ');
  const cases = commands.flatMap((command) => [
    `    ${command.name})`,
    ...choiceLines(command),
    `      COMPREPLY=($(compgen -W "${optionWords(command).join(' ')}" -- "$current")) ;;`,
  ]);
  return [
    '_dcred() {',
    `  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}"`,
    '  COMPREPLY=()',
    `  if [ "$COMP_CWORD" -eq 1 ]; then COMPREPLY=($(compgen -W "${names}" -- "$current")); return; fi`,
    `  case "\${COMP_WORDS[1]}" in`,
    ...cases,
    '  esac',
    '}',
    'complete -o default -F _dcred dcred kubectl-dcred',
    '',
  ].join('\n');
}

/** zsh runs bash's completions. */
function zsh(commands: readonly Command[]): string {
  return `autoload -U +X bashcompinit && bashcompinit\n${bash(commands)}`;
}

function choiceLines({ name, options }: Command): readonly string[] {
  const lines = Object.entries(options).flatMap(([option, { choices, short }]) => {
    if (choices === undefined) return [];
    const words = [`--${option}`, ...(short === undefined ? [] : [`-${short}`])];
    return [`        ${words.join('|')}) COMPREPLY=($(compgen -W "${choices.join(' ')}" -- "$current")); return ;;`];
  });
  const shells =
    name === 'completion'
      ? [`        completion) COMPREPLY=($(compgen -W "${SHELLS.join(' ')}" -- "$current")); return ;;`]
      : [];
  const all = [...lines, ...shells];
  return all.length === 0 ? [] : ['      case "$previous" in', ...all, '      esac'];
}

function allOptions(options: Command['options']): Command['options'] {
  return { ...options, ...COMMON_OPTIONS };
}

function optionWords({ options }: Command): readonly string[] {
  return Object.keys(allOptions(options)).map((name) => `--${name}`);
}

function fish(commands: readonly Command[]): string {
  const lines = commands.flatMap(({ name, options, summary }) => [
    `complete -c dcred -n __fish_use_subcommand -f -a ${name} -d '${summary}'`,
    ...Object.entries(allOptions(options)).map(([option, spec]) => {
      const short = spec.short === undefined ? '' : ` -s ${spec.short}`;
      const choices = spec.choices === undefined ? '' : ` -x -a '${spec.choices.join(' ')}'`;
      const value = spec.type === 'string' && spec.choices === undefined ? ' -r' : '';
      return `complete -c dcred -n '__fish_seen_subcommand_from ${name}' -l ${option}${short}${value}${choices} -d '${spec.help.replaceAll("'", '')}'`;
    }),
  ]);
  return `${lines.join('\n')}\ncomplete -c dcred -n '__fish_seen_subcommand_from completion' -f -a '${SHELLS.join(' ')}'\n`;
}
