import { crdYaml, type HelmRelease } from '../../api/crd-yaml.ts';
import { isDnsLabel, isDnsSubdomain } from '../../text/dns-name.ts';
import type { Command } from '../command.ts';

export const crdCommand: Command = {
  name: 'crd',
  summary: 'print the CustomResourceDefinitions',
  usage: 'crd [--helm-release NAMESPACE/NAME]',
  description:
    'Prints the CustomResourceDefinitions of this version of dcred as YAML. To install the chart afterwards, ' +
    'name its release: Helm refuses to adopt definitions that are not marked as its own.',
  example: 'dcred crd --helm-release dcred-system/dcred | kubectl apply --server-side -f -',
  options: {
    'helm-release': {
      type: 'string',
      value: 'NAMESPACE/NAME',
      expects: (value) =>
        readRelease(value) === undefined ? 'a namespace and a release, such as dcred-system/dcred' : undefined,
      help: 'mark them as owned by this Helm release, which need not exist yet',
    },
  },
  async run(args, io) {
    const release = args.string('helm-release');
    io.stdout.write(crdYaml(release === undefined ? undefined : readRelease(release)));
    return 0;
  },
};

function readRelease(text: string): HelmRelease | undefined {
  const [namespace = '', name = '', ...more] = text.split('/');
  return isDnsLabel(namespace) && isDnsSubdomain(name) && more.length === 0 ? { namespace, name } : undefined;
}
