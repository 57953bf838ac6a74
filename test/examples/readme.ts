/** The commands in the examples' READMEs: blocks indented by four columns. */

/** Each command, with its continuation lines joined and its comment removed. */
export function commands(markdown: string): readonly string[] {
  const lines = markdown.split('\n').flatMap((line) => (line.startsWith('    ') ? [line.trim()] : []));
  return lines
    .join('\n')
    .replaceAll(/\s*\\\n\s*/g, ' ')
    .split('\n')
    .map((line) => line.replace(/\s{2,}#.*$/, '').trim())
    .filter((line) => line !== '');
}

/** Paths of this project that a command names. */
export function projectPaths(command: string): readonly string[] {
  return command.match(/\b(?:examples|charts|test)\/[\w./-]*/g) ?? [];
}

/** The words of a simple command, split as a shell would. */
export function words(command: string): readonly string[] {
  return (command.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replace(/^'(.*)'$/, '$1'));
}
