import { readCertificateChain } from '../credential/certificate.ts';
import { MalformedCredentialError } from '../credential/errors.ts';
import { readCredentialFile } from '../credential/formats.ts';
import { printableJson } from '../text/printable.ts';
import { type Command, CommandError } from './command.ts';
import { namingFile, reading } from './credential-input.ts';
import { readInput } from './input.ts';
import { type Inspection, inspectCertificate, inspectCredential, inspectDer, inspectSecret } from './inspection.ts';
import { formatInspection } from './inspection-text.ts';
import { looksLikeManifest, readSecretManifests } from './manifest.ts';

export const inspectCommand: Command = {
  name: 'inspect',
  summary: 'show what is in a credential, a certificate or a Secret',
  usage: 'inspect FILE [-o json]',
  description:
    'Recognises dc.bin, dc.hex, dc.pem, fizz.pem, a certificate (PEM or DER; says whether it can delegate, and if not, why) and ' +
    'Secret manifests (YAML or JSON; says whether key, credential and certificate belong together). `-` reads standard input. ' +
    'Never shows a private key. Needs no cluster.',
  example: 'kubectl get secret web-web-0 -o yaml | dcred inspect -',
  options: {
    output: {
      type: 'string',
      short: 'o',
      value: 'FORMAT',
      default: 'text',
      choices: ['text', 'json'],
      help: 'text or json',
    },
  },
  positionals: { min: 1, max: 1 },

  async run(args, io) {
    const [path = '-'] = args.positionals;
    const now = Math.floor(io.now() / 1000);
    const data = await readInput(path, { what: 'a credential, a certificate or a Secret manifest', signal: io.signal });
    const inspections = await inspect(data, path === '-' ? 'standard input' : path, now);
    io.stdout.write(args.string('output') === 'json' ? formatJson(inspections) : formatText(inspections, now));
    return 0;
  },
};

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
  return `${printableJson(JSON.stringify(inspections.length === 1 ? inspections[0] : inspections, undefined, 2))}\n`;
}

function formatText(inspections: readonly Inspection[], now: number): string {
  return inspections.map((inspection) => formatInspection(inspection, now)).join('\n');
}
