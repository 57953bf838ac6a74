import { COMMIT, VERSION } from '../version.ts';
import type { Command } from './command.ts';
import { jsonText } from './output.ts';

export const versionCommand: Command = {
  name: 'version',
  summary: 'print the version',
  usage: 'version [-o json]',
  description: 'Prints the version of dcred, the commit that it was built from, and the Node.js that runs it.',
  example: 'dcred version -o json',
  options: {
    output: { type: 'string', short: 'o', value: 'FORMAT', choices: ['json', 'text'], default: 'text', help: 'format' },
  },
  async run(args, io) {
    const facts = { version: VERSION, commit: COMMIT, node: process.version };
    if (args.string('output') === 'json') io.stdout.write(jsonText(facts));
    else io.stdout.write(`dcred ${VERSION} (${COMMIT}), Node.js ${process.version}\n`);
    return 0;
  },
};
