import { readCertificateChain } from '../../credential/certificate.ts';
import { MalformedCredentialError } from '../../credential/errors.ts';
import { readCredentialFile } from '../../credential/formats.ts';
import { printable } from '../../text/printable.ts';
import { type Command, type CommandArguments, CommandError, type CommandIo, UsageError } from '../command.ts';
import type { Expected } from '../expected.ts';
import { namingFile, reading } from '../options/credential-input.ts';
import { readInput } from '../options/input.ts';
import {
  COMMAND_RETRIES,
  connect,
  createClient,
  KUBERNETES_OPTIONS,
  NAMESPACE_OPTION,
} from '../options/kubernetes-options.ts';
import { jsonText, OUTPUT_OPTION } from '../output.ts';
import {
  type Inspection,
  inspectCertificate,
  inspectCredential,
  inspectDer,
  inspectPod,
  inspectSecret,
} from './inspection.ts';
import { formatInspection } from './inspection-text.ts';
import { type LiveName, readLiveName, readLivePod, readLiveSecret } from './live-objects.ts';
import { looksLikeManifest, readSecretManifests } from './manifest.ts';

export const inspectCommand: Command = {
  name: 'inspect',
  summary: 'show what is in a credential, a certificate or a Secret',
  usage: 'inspect FILE | secret/NAME | pod/NAME [-n NAMESPACE] [-o json]',
  description:
    'Recognises dc.bin, dc.hex, dc.pem, fizz.pem, a certificate (PEM or DER; says whether it can delegate, and if not, why) and ' +
    'Secret manifests (YAML or JSON; says whether key, credential and certificate belong together). `-` reads standard input. ' +
    'Never shows a private key. Needs no cluster; with secret/NAME it reads that Secret from one, with pod/NAME all that dcred ' +
    'issued to that pod.',
  example:
    'dcred inspect dc.bin\ndcred inspect pod/web-0 -n edge\nkubectl get secret web-web-0 -o yaml | dcred inspect -',
  options: {
    ...KUBERNETES_OPTIONS,
    namespace: { ...NAMESPACE_OPTION, help: "namespace of the Secret or pod; the context's when absent" },
    output: OUTPUT_OPTION,
  },
  positionals: { min: 1, max: 2, complete: completeSubject },

  async run(args, io) {
    const now = Math.floor(io.now() / 1000);
    const live = readLiveName(args.positionals);
    if (live === undefined && args.string('namespace') !== undefined) {
      throw new UsageError(
        `-n is for secret/NAME and pod/NAME; got "${printable(args.positionals.join(' '))}", which is read as a file`,
      );
    }
    const inspections = live === undefined ? await inspectFile(args, io, now) : await inspectLive(args, io, live, now);
    io.stdout.write(args.string('output') === 'json' ? formatJson(inspections) : formatText(inspections, now));
    return 0;
  },
};

/** A file, `secret/NAME`, `secret NAME`. */
function completeSubject([kind]: readonly string[], typed: string): Expected {
  const [word = '', name] = kind === undefined ? typed.split('/') : [kind, typed];
  const prefix = kind === undefined ? `${word}/` : '';
  if (name !== undefined && /^secrets?$/.test(word)) return { kind: 'names', of: 'IssuedSecret', prefix };
  if (name !== undefined && /^(pods?|po)$/.test(word)) return { kind: 'names', of: 'Pod', prefix };
  if (kind !== undefined) return { kind: 'nothing' };
  return { kind: 'words', words: [{ word: 'secret/' }, { word: 'pod/' }], open: true, orFiles: true };
}

async function inspectFile(args: CommandArguments, io: CommandIo, now: number): Promise<readonly Inspection[]> {
  const [path = '-'] = args.positionals;
  const data = await readInput(path, { what: 'a credential, a certificate or a Secret manifest', signal: io.signal });
  return await inspect(data, path === '-' ? 'standard input' : path, now);
}

async function inspectLive(
  args: CommandArguments,
  io: CommandIo,
  { kind, name }: LiveName,
  now: number,
): Promise<readonly Inspection[]> {
  const connection = await connect(args, io);
  const client = createClient(connection, COMMAND_RETRIES);
  const ref = { namespace: args.string('namespace') ?? connection.defaultNamespace, name };
  try {
    if (kind === 'Secret') return [inspectSecret(await readLiveSecret(client, ref, io.signal), now)];
    const { pod, secrets } = await readLivePod(client, ref, io.signal);
    const issued = secrets.map((secret) => secret.name);
    return [inspectPod(pod, issued), ...secrets.map((secret) => inspectSecret(secret, now))];
  } finally {
    await client.close();
  }
}

const CERTIFICATE = /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----/;

async function inspect(data: Uint8Array, source: string, now: number): Promise<readonly Inspection[]> {
  const text = Buffer.from(data).toString('utf8');
  if (looksLikeManifest(text)) {
    return (await readSecretManifests(text, source)).map((secret) => inspectSecret(secret, now));
  }
  if (CERTIFICATE.test(text) && !/-----BEGIN [A-Z ]{0,64}DELEGATED CREDENTIAL-----/.test(text)) {
    const chain = reading(source, () => readCertificateChain(text));
    return chain.map((certificate, position) => {
      const isIssuer = position > 0 && certificate.authority;
      return inspectCertificate(certificate, now, isIssuer ? 'issuer' : 'leaf');
    });
  }
  if (/-----BEGIN [A-Z ]{0,64}PRIVATE KEY-----/.test(text) && !text.includes('DELEGATED CREDENTIAL')) {
    throw new CommandError(`${source} is a private key: dcred never shows one; keep it secret`);
  }
  // A certificate is a SEQUENCE, 0x30; a credential that begins so would be valid for 25 years.
  const certificate = data[0] === 0x30 ? inspectDer(data, now) : undefined;
  if (certificate !== undefined) return [certificate];
  const file = reading(source, () => readCredentialFile(data));
  try {
    return [inspectCredential(file, now)];
  } catch (error) {
    if (file.format !== 'raw' || !(error instanceof MalformedCredentialError)) throw namingFile(source, error);
    throw new CommandError(
      `${source} is neither a credential, a certificate nor a Secret manifest; read as dc.bin, ${error.message}`,
      { cause: error },
    );
  }
}

/** One object, or a list where there are several: what jq users expect of kubectl. */
function formatJson(inspections: readonly Inspection[]): string {
  return jsonText(inspections.length === 1 ? inspections[0] : inspections);
}

function formatText(inspections: readonly Inspection[], now: number): string {
  return inspections.map((inspection) => formatInspection(inspection, now)).join('\n');
}
