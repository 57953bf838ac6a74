/** From a command line to an exit status. */

import { nearest } from '../text/nearest.ts';
import { explainOpenSsl } from '../text/openssl-error.ts';
import { printable } from '../text/printable.ts';
import { adviceFor } from './advice.ts';
import { parseArguments } from './arguments.ts';
import { type Command, CommandError, type CommandIo, type ExitStatus, UsageError } from './command.ts';
import { commandHelp, overview } from './help.ts';
import { guardedIo } from './output.ts';

const MAX_LINE_LENGTH = 4_096;

/** `/usr/local/bin/kubectl-dcred` is a plug-in of kubectl: https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/ */
export function programName(path: string): string {
  return /(?:^|[\\/])kubectl-dcred(?:\.(?:exe|js))?$/.test(path) ? 'kubectl dcred' : 'dcred';
}

/** Command lines in a text of help or an error, as the user would type them. */
function asCalled(text: string, commands: readonly Command[], { program = 'dcred' }: CommandIo): string {
  if (program === 'dcred') return text;
  const known = ['COMMAND', '--help', ...commands.map(({ name }) => name)];
  return text.replaceAll(/\bdcred (COMMAND|--help|[a-z][a-z-]*)/g, (call: string, word: string) =>
    known.includes(word) ? `${program} ${word}` : call,
  );
}

/**
 * Runs the command that `argv` (without the executable) names. Never throws: what goes wrong is a line on standard error and a
 * status.
 */
export async function run(
  commands: readonly Command[],
  argv: readonly string[],
  processIo: CommandIo,
): Promise<ExitStatus> {
  const io = guardedIo(processIo);
  const [name, ...rest] = argv;
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    return showHelp(commands, name === 'help' ? rest[0] : undefined, io);
  }
  const command = commands.find((one) => one.name === (name === '--version' ? 'version' : name));
  if (command === undefined) {
    io.stderr.write(unknownCommand(name, commands, io));
    return 2;
  }
  try {
    const args = parseArguments(command, rest);
    if (args.boolean('help')) {
      io.stdout.write(asCalled(commandHelp(command), commands, io));
      return 0;
    }
    return await command.run(args, io);
  } catch (error) {
    return explain(error, command, commands, io);
  }
}

function showHelp(commands: readonly Command[], topic: string | undefined, io: CommandIo): ExitStatus {
  const command = commands.find(({ name }) => name === topic);
  if (topic !== undefined && command === undefined) {
    io.stderr.write(unknownCommand(topic, commands, io));
    return 2;
  }
  io.stdout.write(asCalled(command === undefined ? overview(commands) : commandHelp(command), commands, io));
  return 0;
}

function unknownCommand(name: string, commands: readonly Command[], { program = 'dcred' }: CommandIo): string {
  const meant = nearest(
    name,
    commands.map((command) => command.name),
  );
  const question = meant === undefined ? '' : `; did you mean "${meant}"?`;
  return `${program}: there is no command "${printable(name)}"${question}\nRun "${program} --help" for the list.\n`;
}

function explain(error: unknown, command: Command, commands: readonly Command[], io: CommandIo): ExitStatus {
  const say = (text: string) => io.stderr.write(asCalled(`dcred ${command.name}: ${text}\n`, commands, io));
  if (error instanceof UsageError) {
    say(`${printableLines(error.message)}\nRun "dcred ${command.name} --help" for the options and an example.`);
    return 2;
  }
  // Errors with a code say what to do; for anything else the stack is what helps.
  const known = error instanceof CommandError || (error instanceof Error && 'code' in error);
  const text = error instanceof Error ? ((known ? error.message : error.stack) ?? error.message) : String(error);
  const advice = adviceFor(error);
  say(
    printableLines(io.signal.aborted && isAbort(error) ? 'interrupted' : text) +
      (advice === undefined ? '' : `\n${advice}`),
  );
  return 1;
}

function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === 'AbortError';
}

/** Messages quote files, arguments, servers and OpenSSL. */
function printableLines(text: string): string {
  return explainOpenSsl(text)
    .split('\n')
    .map((line) => printable(line, MAX_LINE_LENGTH))
    .join('\n');
}
