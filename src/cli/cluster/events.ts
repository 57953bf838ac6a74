import { collectEvents, type ReportedEvent } from '../../status/events.ts';
import { align, relative } from '../../status/format.ts';
import { paint } from '../../status/paint.ts';
import { printable, printableList } from '../../text/printable.ts';
import type { Command } from '../command.ts';
import { resourcesExcept } from '../expected.ts';
import {
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

export const eventsCommand: Command = {
  name: 'events',
  summary: 'show what dcred reported on resources and pods',
  usage: 'events [NAME...] [-n NAMESPACE | -A] [--type Warning]',
  description:
    'Prints the Events of dcred, newest last: what was issued and why, and what kept a pod from its credential. With NAMEs, only ' +
    'those about these DelegatedCredentials and their pods. Kubernetes keeps Events for an hour.',
  example: 'dcred events web -n edge --type Warning',
  positionals: { min: 0, max: Number.POSITIVE_INFINITY, complete: resourcesExcept },
  options: {
    ...KUBERNETES_OPTIONS,
    ...SCOPE_OPTIONS,
    type: { type: 'string', value: 'TYPE', choices: ['Normal', 'Warning'], help: 'only Events of this type' },
    output: OUTPUT_OPTION,
  },

  async run(args, io) {
    const names = resourceNames(args);
    const connection = await connect(args, io);
    const client = createClient(connection, COMMAND_RETRIES);
    try {
      const namespace = readScope(args, connection.defaultNamespace);
      const options = { namespace, names, type: args.string('type') };
      const events = await collectEvents(client, options, io.signal);
      if (args.string('output') === 'json') {
        io.stdout.write(jsonText(events));
        return 0;
      }
      if (events.length === 0) {
        const where = inNamespaces(namespace);
        const about = names === undefined ? '' : `on ${printableList(names)} `;
        io.stderr.write(`no Events of dcred ${about}${where}: Kubernetes keeps them for an hour\n`);
        return 0;
      }
      io.stdout.write(table(events, Math.floor(io.now() / 1000), namespace === undefined, wantsColour(io)));
      return 0;
    } finally {
      await client.close();
    }
  },
};

const HEADER = ['LAST SEEN', 'TYPE', 'REASON', 'OBJECT', 'COUNT', 'MESSAGE'];

function table(events: readonly ReportedEvent[], now: number, withNamespace: boolean, colour: boolean): string {
  const rows = events.map(({ count, lastSeen, namespace, note, object, reason, type }) => {
    const seen = relative(Math.floor(Date.parse(lastSeen) / 1000), now);
    const cells = [seen, type, reason, object, String(count), note].map((cell) => printable(cell, 1024));
    return withNamespace ? [namespace, ...cells] : cells;
  });
  const lines = align([withNamespace ? ['NAMESPACE', ...HEADER] : HEADER, ...rows]);
  const shown = lines.map((line, row) =>
    paint(line, events[row - 1]?.type === 'Warning' ? 'yellow' : undefined, colour),
  );
  return `${shown.join('\n')}\n`;
}
