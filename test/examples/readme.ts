/** What the examples' READMEs tell their reader to type: blocks that are indented by four columns. */

/** Each command whole, with its continuation lines joined and without its comment. */
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

/** The words of a simple command, as a shell would see them. */
export function words(command: string): readonly string[] {
  return (command.match(/'[^']*'|\S+/g) ?? []).map((word) => word.replace(/^'(.*)'$/, '$1'));
}
