/** The texts of `--help`, made from the commands' own tables. */
import { COMMON_OPTIONS } from './arguments.ts';
import type { Command, OptionSpec } from './command.ts';

const WIDTH = 100;

export function overview(commands: readonly Command[]): string {
  const rows = commands.map(({ name, summary }) => [name, summary] as const);
  return [
    'dcred issues TLS delegated credentials (RFC 9345) to Kubernetes pods.',
    '',
    'Usage: dcred COMMAND [options]',
    '',
    'Commands:',
    ...table(rows),
    '',
    'Run "dcred COMMAND --help" for the options of a command and an example.',
    '',
  ].join('\n');
}

export function commandHelp(command: Command): string {
  const options = Object.entries({ ...command.options, ...COMMON_OPTIONS });
  return [
    ...wrap(command.description, WIDTH),
    '',
    `Usage: dcred ${command.usage}`,
    '',
    'Options:',
    ...table(options.map(([name, spec]) => [optionNames(name, spec), optionHelp(spec)] as const)),
    '',
    'Example:',
    ...command.example.split('\n').map((line) => `  ${line}`),
    '',
  ].join('\n');
}

function optionNames(name: string, { short, type, value }: OptionSpec): string {
  const dashed = `${short === undefined ? '    ' : `-${short}, `}--${name}`;
  return type === 'string' ? `${dashed} ${value ?? 'VALUE'}` : dashed;
}

function optionHelp({ choices, default: preset, help }: OptionSpec): string {
  const notes = [
    ...(choices === undefined ? [] : [`one of ${choices.join(', ')}`]),
    ...(preset === undefined ? [] : [`default ${preset}`]),
  ];
  return notes.length === 0 ? help : `${help} (${notes.join('; ')})`;
}

function table(rows: readonly (readonly [string, string])[]): readonly string[] {
  const width = Math.max(...rows.map(([left]) => left.length));
  const indent = ' '.repeat(width + 4);
  return rows.flatMap(([left, right]) => {
    const [first = '', ...more] = wrap(right, WIDTH - indent.length);
    return [`  ${left.padEnd(width)}  ${first}`, ...more.map((line) => indent + line)];
  });
}

function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
      continue;
    }
    line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
