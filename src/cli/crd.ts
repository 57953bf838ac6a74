import { crdYaml } from '../api/crd-yaml.ts';
import type { Command } from './command.ts';

export const crdCommand: Command = {
  name: 'crd',
  summary: 'print the CustomResourceDefinitions',
  usage: 'crd',
  description:
    'Prints the CustomResourceDefinitions of DelegatedCredential and DelegationGrant as YAML, as this version of dcred needs them.',
  example: 'dcred crd | kubectl apply --server-side -f -',
  options: {},
  async run(_args, io) {
    io.stdout.write(crdYaml());
    return 0;
  },
};
