/** Release notes out of CHANGELOG.md. Pure. */

export class ReleaseNotesError extends Error {
  readonly code = 'ReleaseNotes';
  override readonly name = 'ReleaseNotesError';
}

/**
 * The section of a version, without its heading; the unreleased section while the version has none.
 * Throws ReleaseNotesError where both are empty.
 */
export function releaseNotes(changelog: string, version: string): string {
  for (const heading of [version, 'Unreleased']) {
    const text = section(changelog, heading);
    if (text !== undefined && text !== '') return `# dcred ${version}\n\n${text}\n`;
  }
  throw new ReleaseNotesError(`CHANGELOG.md: expected a section "## ${version}" or "## Unreleased" with changes`);
}

/** Headings as Keep a Changelog has them: `## 1.2.3`, `## [1.2.3] - 2027-01-15`. */
function section(changelog: string, heading: string): string | undefined {
  const lines = changelog.split('\n');
  const isHeading = (line: string) => line.startsWith('## ');
  const wanted = (line: string) => isHeading(line) && line.slice(3).replaceAll(/[[\]]/g, '').split(' ')[0] === heading;
  const begin = lines.findIndex(wanted);
  if (begin < 0) return undefined;
  const end = lines.findIndex((line, index) => index > begin && isHeading(line));
  return lines
    .slice(begin + 1, end < 0 ? undefined : end)
    .join('\n')
    .trim();
}
