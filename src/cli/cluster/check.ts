import { formatFindings } from '../../check/format.ts';
import { preflight } from '../../check/preflight.ts';
import { isDnsSubdomain } from '../../text/dns-name.ts';
import { VERSION } from '../../version.ts';
import { type Command, UsageError } from '../command.ts';
import {
  COMMAND_RETRIES,
  connect,
  createClient,
  KUBERNETES_OPTIONS,
  readScope,
  SCOPE_OPTIONS,
  SYSTEM_NAMESPACE_OPTION,
} from '../options/kubernetes-options.ts';
import { jsonText, OUTPUT_OPTION, wantsColour } from '../output.ts';

export const checkCommand: Command = {
  name: 'check',
  summary: 'check that a cluster is ready for dcred, and what it lacks',
  usage: 'check [-n NAMESPACE | -A] [--certificate SECRET]...',
  description:
    'Before an installation, and when something does not work: the API server and its version, the CustomResourceDefinition, the ' +
    'operator and its permissions, the webhook (a pod is created as a dry run), clocks, your own permissions, and whether each ' +
    'certificate is fit to delegate. Prints a line for each, ok, warning or problem, with what to do. Changes nothing. Reads ' +
    'certificate Secrets where you may, with their keys, and shows nothing of them. Exit status 1 when there is a problem.',
  example: 'dcred check -n edge --certificate web-tls',
  options: {
    ...KUBERNETES_OPTIONS,
    ...SCOPE_OPTIONS,
    certificate: {
      type: 'string',
      multiple: true,
      value: 'SECRET',
      expects: (value) => (isDnsSubdomain(value) ? undefined : 'the name of a Secret, such as web-tls'),
      help: 'also check this certificate Secret, which no DelegatedCredential names yet; may be repeated',
    },
    'system-namespace': SYSTEM_NAMESPACE_OPTION,
    output: OUTPUT_OPTION,
  },

  async run(args, io) {
    if (args.boolean('all-namespaces') && args.strings('certificate').length > 0) {
      throw new UsageError('--certificate is a Secret of one namespace: name it with -n, in place of -A');
    }
    const connection = await connect(args, io);
    const client = createClient(connection, { ...COMMAND_RETRIES, timeoutMs: 15_000 });
    try {
      const findings = await preflight({
        client,
        server: connection.server,
        namespace: readScope(args, connection.defaultNamespace),
        certificates: args.strings('certificate'),
        readsKeys: true,
        systemNamespace: args.string('system-namespace'),
        version: VERSION,
        now: () => io.now(),
        signal: io.signal,
      });
      const text = args.string('output') === 'json' ? jsonText(findings) : formatFindings(findings, wantsColour(io));
      io.stdout.write(text);
      return findings.some(({ level }) => level === 'problem') ? 1 : 0;
    } finally {
      await client.close();
    }
  },
};
