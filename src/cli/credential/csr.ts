import { generateKeyPairSync } from 'node:crypto';
import { USAGES, type Usage } from '../../credential/scheme.ts';
import type { RequestKey } from '../../provision/certificate-request.ts';
import { isDnsSubdomain } from '../../text/dns-name.ts';
import { explainFileError } from '../../text/system-error.ts';
import { type Command, CommandError, UsageError } from '../command.ts';
import { reading } from '../options/credential-input.ts';
import { readInputText } from '../options/input.ts';
import { KEY_URI_HELP, KEY_VALUE, type OpenKey, readKeyOption, withRemoteKey } from '../options/key-option.ts';
import { type NewFile, replaceFiles } from './replace-files.ts';

/** In the order of src/provision/ca-instructions.ts, which is loaded only when it is used. */
const CA_KINDS = ['openssl', 'cfssl', 'aws-private-ca'] as const;

export const csrCommand: Command = {
  name: 'csr',
  summary: 'make a certificate request with DelegationUsage',
  usage: 'csr --dns NAME... --out DIR [--key KEY]',
  description:
    'Writes tls.csr, a PKCS#10 request for a delegation certificate, and tls.key, a fresh ECDSA P-256 key, into DIR; ' +
    '--key KEY uses an existing key, which may be in an HSM or KMS. --for CA also writes what that CA needs to set the ' +
    'DelegationUsage extension, and prints the command to run. Never overwrites a key. Needs no cluster.',
  example: 'dcred csr --dns web.example --dns www.web.example --for aws-private-ca --out web',
  options: {
    dns: { type: 'string', value: 'NAME', multiple: true, help: 'DNS name of the certificate, *. allowed; repeatable' },
    key: {
      type: 'string',
      value: KEY_VALUE,
      help: `existing private key, PEM; ECDSA P-256, P-384 or P-521: ${KEY_URI_HELP}`,
    },
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
    const keyText = args.string('key');
    const keyOption = keyText === undefined ? undefined : readKeyOption(keyText);
    const { signal } = io;
    const [{ certificateRequest, requestKeyFromPem }, { caInstructions }] = await Promise.all([
      import('../../provision/certificate-request.ts'),
      import('../../provision/ca-instructions.ts'),
    ]);
    const requestBy = (key: RequestKey) => certificateRequest({ key, dnsNames, usage, signal });
    let newKey: string | undefined;
    let request: string;
    if (keyOption === undefined) {
      newKey = generateKey();
      request = await requestBy(requestKeyFromPem(newKey));
    } else if ('uri' in keyOption) {
      const byRemote = (signer: OpenKey) => requestBy({ signer, publicKey: signer.publicKey });
      request = await withRemoteKey(keyOption.uri, undefined, io, byRemote);
    } else {
      const { path } = keyOption;
      const pem = await readInputText(path, { what: 'a private key in PEM', signal });
      request = await requestBy(reading(path, () => requestKeyFromPem(pem)));
    }
    const instructions = kind === undefined ? undefined : caInstructions(kind, { request: 'tls.csr', dnsNames, usage });
    const files: NewFile[] = [
      ...(newKey === undefined ? [] : [{ name: 'tls.key', content: Buffer.from(newKey), mode: 0o600 }]),
      ...(instructions === undefined
        ? []
        : [{ name: instructions.file.name, content: Buffer.from(instructions.file.content), mode: 0o644 }]),
      { name: 'tls.csr', content: Buffer.from(request), mode: 0o644 },
    ];
    await writeNew(directory, files, 'pass it with --key, or choose another directory for --out', signal);
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

/** Refuses to replace a private key: what was certified on it would be lost, and `advice` says what to do. Throws CommandError. */
export async function writeNew(
  directory: string,
  files: readonly NewFile[],
  advice: string,
  signal: AbortSignal,
): Promise<void> {
  const marked = files.map((file) => ({ ...file, isFirst: file.mode === 0o600 }));
  try {
    await replaceFiles(directory, marked, { obsolete: [], signal });
  } catch (error) {
    if (signal.aborted) throw error;
    const { code, path } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') throw new CommandError(`${path} exists: ${advice}`, { cause: error });
    throw new CommandError(`cannot write the files: ${explainFileError(directory, error)}`, { cause: error });
  }
}
