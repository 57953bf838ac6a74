import { open, rm } from 'node:fs/promises';
import { archive, bundleFiles, type Collected } from '../../bundle/archive.ts';
import { collectBundle } from '../../bundle/collect.ts';
import { preflight } from '../../check/preflight.ts';
import { firstItems, printable } from '../../text/printable.ts';
import { formatRfc3339 } from '../../text/rfc3339.ts';
import { explainWriteError } from '../../text/system-error.ts';
import { COMMIT, VERSION } from '../../version.ts';
import { type Command, CommandError } from '../command.ts';
import {
  COMMAND_RETRIES,
  connect,
  createClient,
  KUBERNETES_OPTIONS,
  readScope,
  SCOPE_OPTIONS,
  SYSTEM_NAMESPACE_OPTION,
} from '../options/kubernetes-options.ts';

export const bundleCommand: Command = {
  name: 'bundle',
  summary: 'collect a support archive, without keys',
  usage: 'bundle [-n NAMESPACE | -A] [--file FILE]',
  description:
    'Writes a tar.gz with what helps to find a fault: what "dcred check" finds, DelegatedCredentials and their status, the times of ' +
    "credentials, dcred's Events, Deployments, pods and logs. Reads no data of any Secret, takes only the fields that it names, and " +
    'replaces what might be a key or a token by its length. Its README.txt says what is in it; read it before you send it on. ' +
    'What could not be read is named on standard error and in its about.json. Exit status 1 when nothing could be read.',
  example: 'dcred bundle -n edge --file dcred.tar.gz',
  options: {
    ...KUBERNETES_OPTIONS,
    ...SCOPE_OPTIONS,
    'system-namespace': SYSTEM_NAMESPACE_OPTION,
    file: { type: 'string', short: 'f', value: 'FILE', help: 'the new file; default: dcred-bundle-TIME.tar.gz' },
  },

  async run(args, io) {
    const connection = await connect(args, io);
    const client = createClient(connection, COMMAND_RETRIES);
    try {
      const now = Math.floor(io.now() / 1000);
      const folder = `dcred-bundle-${formatRfc3339(now).replaceAll(/[:-]/g, '')}`;
      const file = args.string('file') ?? `${folder}.tar.gz`;
      const shared = {
        client,
        namespace: readScope(args, connection.defaultNamespace),
        systemNamespace: args.string('system-namespace'),
        signal: io.signal,
      };
      const findings = await preflight({
        ...shared,
        server: connection.server,
        certificates: [],
        readsKeys: false,
        version: VERSION,
        now: () => io.now(),
      });
      const versions = { dcred: VERSION, commit: COMMIT, node: process.version, platform: process.platform };
      const collected = await collectBundle({ ...shared, findings, versions, now });
      await writeNew(file, archive(folder, bundleFiles(collected)));
      io.stdout.write(`${file}\n`);
      io.stderr.write(missingParts(collected));
      io.stderr.write('read its README.txt, and look through it, before you send it on\n');
      return collected.isEmpty ? 1 : 0;
    } finally {
      await client.close();
    }
  },
};

const MAX_MISSING = 20;

/** A line for each part that the archive lacks. */
function missingParts({ failures, isEmpty }: Collected): string {
  const { omitted, shown } = firstItems(failures, MAX_MISSING);
  const lines = [
    ...(isEmpty ? ['nothing could be read from the cluster: "dcred check" says what is missing'] : []),
    ...shown.map((failure) => `not in the archive: ${printable(failure, 320)}`),
    ...(omitted === 0 ? [] : [`not in the archive: ${omitted} more, listed in its about.json`]),
  ];
  return lines.map((line) => `${line}\n`).join('');
}

async function writeNew(path: string, content: Uint8Array): Promise<void> {
  let isOurs = false;
  try {
    await using file = await open(path, 'wx', 0o600);
    isOurs = true;
    await file.writeFile(content);
  } catch (error) {
    if (isOurs) await rm(path, { force: true });
    const exists = error instanceof Error && 'code' in error && error.code === 'EEXIST';
    if (exists) throw new CommandError(`${path} exists: name another file with --file`);
    throw new CommandError(`cannot write the archive: ${explainWriteError(path, error)}`, { cause: error });
  }
}
