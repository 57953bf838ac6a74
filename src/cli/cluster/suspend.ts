import { DELEGATED_CREDENTIALS } from '../../api/resource-types.ts';
import { findTargets } from '../../renew/request.ts';
import type { Command, CommandArguments, CommandIo, ExitStatus } from '../command.ts';
import { resourcesExcept } from '../expected.ts';
import {
  COMMAND_RETRIES,
  connect,
  createClient,
  KUBERNETES_OPTIONS,
  NAMESPACE_OPTION,
} from '../options/kubernetes-options.ts';

export const suspendCommand: Command = switchCommand({
  name: 'suspend',
  suspend: true,
  done: 'suspended',
  summary: 'stop issuing and re-issuing for DelegatedCredentials',
  description:
    'Sets spec.suspend: nothing is issued, re-issued or deleted until "dcred resume". Issued credentials stay valid until they ' +
    'expire, and are not renewed meanwhile.',
});

export const resumeCommand: Command = switchCommand({
  name: 'resume',
  suspend: false,
  done: 'resumed',
  summary: 'issue and re-issue again after dcred suspend',
  description: 'Clears spec.suspend: what is missing, outdated or due is issued at once.',
});

interface Switch {
  readonly name: string;
  readonly suspend: boolean;
  readonly done: string;
  readonly summary: string;
  readonly description: string;
}

function switchCommand({ description, done, name, summary, suspend }: Switch): Command {
  return {
    name,
    summary,
    usage: `${name} NAME... [-n NAMESPACE]`,
    description,
    example: `dcred ${name} web -n edge`,
    positionals: { min: 1, max: Number.POSITIVE_INFINITY, complete: resourcesExcept },
    options: {
      ...KUBERNETES_OPTIONS,
      namespace: { ...NAMESPACE_OPTION, help: "namespace; the context's when absent" },
    },
    run: (args, io) => setSuspend(args, io, suspend, done),
  };
}

/** Nothing is changed unless all names exist. Throws UnknownResourcesError, ApiError. */
async function setSuspend(args: CommandArguments, io: CommandIo, suspend: boolean, done: string): Promise<ExitStatus> {
  const connection = await connect(args, io);
  const client = createClient(connection, COMMAND_RETRIES);
  try {
    const namespace = args.string('namespace') ?? connection.defaultNamespace;
    const selection = { namespace, names: args.positionals, labelSelector: undefined };
    for (const target of await findTargets(client, selection, io.signal)) {
      const ref = { namespace: target.namespace, name: target.name };
      await client.mergePatch(DELEGATED_CREDENTIALS, ref, { spec: { suspend } }, { signal: io.signal });
      io.stdout.write(`${target.namespace}/${target.name} ${done}\n`);
    }
    return 0;
  } finally {
    await client.close();
  }
}
