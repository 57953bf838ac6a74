import { generateKeyPairSync } from 'node:crypto';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { USAGES, type Usage } from '../credential/scheme.ts';
import { isDnsSubdomain } from '../text/dns-name.ts';
import { type Command, CommandError, UsageError } from './command.ts';
import { namingFile } from './credential-input.ts';
import { readInputText } from './input.ts';
import { type NewFile, replaceFiles } from './replace-files.ts';

/** In the order of src/provision/ca-instructions.ts, which is loaded only when it is used. */
const CA_KINDS = ['openssl', 'cfssl', 'aws-private-ca'] as const;

export const csrCommand: Command = {
  name: 'csr',
  summary: 'make a certificate request with DelegationUsage',
  usage: 'csr --dns NAME... --out DIR [--key FILE]',
  description:
    'Writes tls.csr, a PKCS#10 request for a delegation certificate, and tls.key, a fresh ECDSA P-256 key, into DIR; ' +
    '--key FILE uses an existing key. --for CA also writes what that CA needs to set the DelegationUsage extension, and prints ' +
    'the command to run. Never overwrites a key. Needs no cluster.',
  example: 'dcred csr --dns web.example --dns www.web.example --for aws-private-ca --out web',
  options: {
    dns: { type: 'string', value: 'NAME', multiple: true, help: 'DNS name of the certificate, *. allowed; repeatable' },
    key: { type: 'string', value: 'FILE', help: 'existing private key, PEM; ECDSA P-256, P-384 or P-521' },
    out: { type: 'string', value: 'DIR', help: 'directory for the files; created if missing' },
    usage: {
      type: 'string',
      value: 'USAGE',
      default: 'Server',
      choices: USAGES,
      help: 'extended key usage to request',
    },
    for: { type: 'string', value: 'CA', choices: CA_KINDS, help: 'also write the configuration for this CA' },
  },

  async run(args, io) {
    const directory = args.required('out');
    const dnsNames = readDnsNames(args.strings('dns'));
    const usage = args.required('usage') as Usage;
    const kind = args.string('for') as (typeof CA_KINDS)[number] | undefined;
    const keyPath = args.string('key');
    const { signal } = io;
    const keyPem =
      keyPath === undefined ? generateKey() : await readInputText(keyPath, { what: 'a private key in PEM', signal });
    // Loaded here: what makes certificates costs 20 MB, and no other command needs it.
    const [{ certificateRequest }, { caInstructions }] = await Promise.all([
      import('../provision/certificate-request.ts'),
      import('../provision/ca-instructions.ts'),
    ]);
    const request = await certificateRequest({ keyPem, dnsNames, usage }).catch((error: unknown) => {
      throw keyPath === undefined ? error : namingFile(keyPath, error);
    });
    const instructions = kind === undefined ? undefined : caInstructions(kind, { request: 'tls.csr', dnsNames, usage });
    const files: NewFile[] = [
      ...(keyPath === undefined ? [{ name: 'tls.key', content: Buffer.from(keyPem), mode: 0o600 }] : []),
      ...(instructions === undefined
        ? []
        : [{ name: instructions.file.name, content: Buffer.from(instructions.file.content), mode: 0o644 }]),
      { name: 'tls.csr', content: Buffer.from(request), mode: 0o644 },
    ];
    await writeNew(directory, files, signal);
    io.stdout.write(`Wrote ${directory}: ${files.map(({ name }) => name).join(' ')}\n`);
    if (instructions !== undefined) io.stdout.write(`\nIn ${directory}, run:\n\n${instructions.command}\n`);
    return 0;
  },
};

/** Throws UsageError. */
export function readDnsNames(names: readonly string[]): readonly string[] {
  if (names.length === 0) throw new UsageError('--dns is required: a DNS name such as web.example');
  const wrong = names.find((name) => !isDnsSubdomain(name.replace(/^\*\./, '')));
  if (wrong === undefined) return names;
  throw new UsageError(`--dns takes a DNS name in lower case, such as web.example or *.web.example; got "${wrong}"`);
}

function generateKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
}

/** Refuses to replace a private key: what was certified on it would be lost. Throws CommandError. */
export async function writeNew(directory: string, files: readonly NewFile[], signal: AbortSignal): Promise<void> {
  for (const { mode, name } of files) {
    if (mode !== 0o600) continue;
    const exists = await access(join(directory, name)).then(
      () => true,
      () => false,
    );
    if (exists) {
      throw new CommandError(
        `${join(directory, name)} exists: pass it with --key, or choose another directory for --out`,
      );
    }
  }
  try {
    await replaceFiles(directory, files, { obsolete: [], signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new CommandError(`cannot write to ${directory}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}
