import { collect } from '../../status/collect.ts';
import { formatTable, formatTree } from '../../status/format.ts';
import { overviews, type ResourceOverview } from '../../status/overview.ts';
import { formatRfc3339 } from '../../text/rfc3339.ts';
import type { Command, CommandIo } from '../command.ts';
import { resourcesExcept } from '../expected.ts';
import {
  assertFound,
  COMMAND_RETRIES,
  connect,
  createClient,
  inNamespaces,
  KUBERNETES_OPTIONS,
  readScope,
  resourceNames,
  SCOPE_OPTIONS,
} from '../options/kubernetes-options.ts';
import { jsonText, OUTPUT_OPTION, wantsColour } from '../output.ts';

export const statusCommand: Command = {
  name: 'status',
  summary: 'show DelegatedCredentials, their certificates and pods',
  usage: 'status [NAME...] [-n NAMESPACE | -A] [-l SELECTOR]',
  description:
    'Without a NAME, prints a table of DelegatedCredentials, and why any of them is not Ready. With NAMEs, or --pods, prints each with ' +
    'its grant, certificate, signer and pods: the age of every credential, its renewal and its expiry, what needs attention first. Reads metadata ' +
    'of pods and Secrets only. Exit status 1 when a DelegatedCredential is not Ready.',
  example: 'dcred status web -n edge',
  positionals: { min: 0, max: Number.POSITIVE_INFINITY, complete: resourcesExcept },
  options: {
    ...KUBERNETES_OPTIONS,
    ...SCOPE_OPTIONS,
    selector: { type: 'string', short: 'l', value: 'SELECTOR', help: 'only DelegatedCredentials with these labels' },
    pods: { type: 'boolean', help: 'show the pods of each' },
    output: OUTPUT_OPTION,
  },

  async run(args, io) {
    const names = resourceNames(args);
    const connection = await connect(args, io);
    const client = createClient(connection, COMMAND_RETRIES);
    try {
      const namespace = readScope(args, connection.defaultNamespace);
      const pods = names !== undefined || args.boolean('pods');
      const options = { namespace, names, labelSelector: args.string('selector'), pods };
      const now = Math.floor(io.now() / 1000);
      const found = overviews({ ...(await collect(client, options, io.signal)), now });
      const foundNames = found.map(({ name }) => name);
      assertFound(foundNames, names, inNamespaces(namespace));
      io.stdout.write(args.string('output') === 'json' ? json(found) : text(found, pods, now, io));
      return found.every(({ ready }) => ready === 'True') ? 0 : 1;
    } finally {
      await client.close();
    }
  },
};

function text(found: readonly ResourceOverview[], pods: boolean, now: number, io: CommandIo): string {
  const colour = wantsColour(io);
  if (!pods) return formatTable(found, { now, colour });
  return found.map((resource) => formatTree(resource, { now, colour })).join('\n');
}

function json(found: readonly ResourceOverview[]): string {
  const time = (seconds: number | undefined) => (seconds === undefined ? undefined : formatRfc3339(seconds));
  const shown = found.map(({ pods, ...resource }) => ({
    ...resource,
    pods: pods.map((pod) => ({
      ...pod,
      issuedAt: time(pod.issuedAt),
      renewAt: time(pod.renewAt),
      expiresAt: time(pod.expiresAt),
    })),
  }));
  return jsonText(shown);
}
