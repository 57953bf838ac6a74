/** The commands that the documentation tells users to type: the lines of its code blocks that begin with a program's name. */
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '..', '..');
const PROGRAMS =
  /^(?:dcred|kubectl|helm|make|npm|npx|git|docker|buildah|openssl|ctr|node|curl|cfssl|aws|velero|\.\/configure)\s/;

export interface DocumentedCommand {
  readonly page: string;
  readonly heading: string;
  /** Whole, without its comment. */
  readonly text: string;
}

/** Of every page for users, in the order of the pages' paths. */
export async function documentedCommands(): Promise<readonly DocumentedCommand[]> {
  const found: DocumentedCommand[] = [];
  const patterns = ['*.md', 'docs/*.md', 'charts/**/*.md', 'examples/**/*.md'];
  const pages: string[] = [];
  for await (const page of glob(patterns, { cwd: ROOT })) pages.push(page);
  for (const page of pages.sort()) found.push(...commandsOf(page, await readFile(join(ROOT, page), 'utf8')));
  return found;
}

export function commandsOf(page: string, text: string): readonly DocumentedCommand[] {
  const found: DocumentedCommand[] = [];
  let heading = '';
  let isFenced = false;
  let begun: string | undefined;
  for (const line of text.split('\n')) {
    if (line.startsWith('```')) {
      isFenced = !isFenced;
      continue;
    }
    if (!isFenced && line.startsWith('#')) heading = line.replace(/^#+ /, '');
    const code = isFenced ? line : line.startsWith('    ') ? line.slice(4) : undefined;
    if (code === undefined) continue;
    const words = begun === undefined ? code.trim().replace(/^\$ /, '') : `${begun} ${code.trim()}`;
    begun = undefined;
    if (!PROGRAMS.test(`${words} `)) continue;
    if (words.endsWith('\\')) begun = words.slice(0, -1).trim();
    else found.push({ page, heading, text: words.replace(/\s+#\s.*$/, '').trim() });
  }
  return found;
}

/** What cannot be run by the test of the commands, and why. */
export const NOT_RUN: readonly (readonly [pattern: RegExp, reason: string])[] = [
  [/^make\b(?! (?:image|help)\b)/, 'a suite or a server of its own, which CI runs or a person'],
  [/^make image\b/, 'runs in the tests of the image; ctr needs containerd, which make e2e has'],
  [/^npm test\b/, 'would run the tests in a test'],
  [/^git clone\b/, 'there is no network'],
  [/^docker build\b/, 'there is no Docker; make e2e builds from a Dockerfile'],
  [/^\.\/configure\b/, "in another project's sources"],
  [/^node scripts\/reliability\.ts\b/, 'rewrites the page that it is on'],
  [/^kubectl logs\b/, 'no node runs the pods here; make e2e reads their logs'],
  [/^kubectl -n dcred-system wait\b/, 'no node runs the pods here; make e2e waits for them'],
  [/^helm test\b/, 'no node runs the pods here; make e2e runs it, and test/chart runs its script'],
  [/^dcred (?:probe|audit)\b/, 'no server runs here; test/probe and test/audit have real ones'],
  [/^npm run bench\b|^node bench\//, 'a benchmark: minutes, and CI runs each of them small'],
  [/<<'?(?:EOF|END)'?$/, 'reads the lines after it; test/audit and test/signer write it on a real API server'],
  [/^dcred (?:signer|operator)(?! verify-log)\b/, 'runs until it is stopped; test/signer and test/operator run it'],
  [/^dcred signer verify-log\b/, 'reads the log of a signer that ran; test/signer writes one'],
  [/^dcred issue --signer\b/, 'needs a signer; test/signer-client has one'],
  [/--key '?(?:pkcs11|awskms|hashivault):/, 'needs a token or a service that test/keys has'],
];

export function whyNotRun(text: string): string | undefined {
  return NOT_RUN.find(([pattern]) => pattern.test(text))?.[1];
}
