import { isApiError } from '../../kubernetes/api-error.ts';
import { SECRETS } from '../../kubernetes/resource-type.ts';
import { isDnsSubdomain } from '../../text/dns-name.ts';
import { formatRfc3339 } from '../../text/rfc3339.ts';
import { type Command, type CommandArguments, CommandError, type CommandIo, UsageError } from '../command.ts';
import { parseDuration } from '../options/duration.ts';
import {
  COMMAND_RETRIES,
  connect,
  createClient,
  KUBERNETES_OPTIONS,
  NAMESPACE_OPTION,
} from '../options/kubernetes-options.ts';
import { readDnsNames, writeNew } from './csr.ts';

const MIN_LIFETIME_SECONDS = 3_600;
const MAX_LIFETIME_SECONDS = 397 * 86_400;

export const devCaCommand: Command = {
  name: 'dev-ca',
  summary: 'make a delegation certificate for trying dcred out',
  usage: 'dev-ca --dns NAME... (--secret NAME | --out DIR)',
  description:
    'Makes a CA and a delegation certificate that it signs, and puts certificate and key into a new Secret of type ' +
    'kubernetes.io/tls, or into DIR. Prints the CA for clients to trust; its key is thrown away. No browser trusts it: for ' +
    'production get a certificate from your CA (dcred csr).',
  example: 'dcred dev-ca --dns web.example --secret web-tls',
  options: {
    ...KUBERNETES_OPTIONS,
    namespace: { ...NAMESPACE_OPTION, help: "namespace of the Secret; the context's when absent" },
    dns: { type: 'string', value: 'NAME', multiple: true, help: 'DNS name of the certificate, *. allowed; repeatable' },
    secret: {
      type: 'string',
      value: 'NAME',
      expects: (value) => (isDnsSubdomain(value) ? undefined : 'the name of a Secret, such as web-tls'),
      help: 'Secret to create; must not exist',
    },
    out: { type: 'string', value: 'DIR', help: 'directory for tls.crt, tls.key and ca.crt, in place of a Secret' },
    lifetime: { type: 'string', value: 'DURATION', default: '720h', help: 'life of the certificate, 1h to 9528h' },
  },

  async run(args, io) {
    const dnsNames = readDnsNames(args.strings('dns'));
    const [secret, directory] = [args.string('secret'), args.string('out')];
    if ((secret === undefined) === (directory === undefined)) {
      throw new UsageError('expected --secret NAME or --out DIR, and one of them only');
    }
    const lifetimeSeconds = parseDuration(args.required('lifetime'), '--lifetime');
    if (lifetimeSeconds < MIN_LIFETIME_SECONDS || lifetimeSeconds > MAX_LIFETIME_SECONDS) {
      throw new UsageError('--lifetime takes 1h to 9528h');
    }
    const now = Math.floor(io.now() / 1000);
    // Loaded here: what makes certificates costs 20 MB, and no other command needs it.
    const { makeDevCertificate } = await import('../../provision/dev-authority.ts');
    const made = await makeDevCertificate({ dnsNames, now, lifetimeSeconds });
    const expires = formatRfc3339(now + lifetimeSeconds);
    if (directory !== undefined) {
      const files = [
        { name: 'tls.key', content: Buffer.from(made.key), mode: 0o600 },
        { name: 'tls.crt', content: Buffer.from(made.certificate), mode: 0o644 },
        { name: 'ca.crt', content: Buffer.from(made.authority), mode: 0o644 },
      ];
      await writeNew(directory, files, 'choose another directory for --out', io.signal);
      io.stdout.write(`Wrote ${directory}: tls.crt tls.key ca.crt, valid until ${expires}\n`);
      return 0;
    }
    if (secret !== undefined) {
      const created = await createSecret(args, io, secret, { 'tls.crt': made.certificate, 'tls.key': made.key });
      io.stderr.write(
        `created secret ${created}, valid until ${expires}; clients trust it by the CA on standard output\n`,
      );
    }
    io.stdout.write(made.authority);
    return 0;
  },
};

/** `NAMESPACE/NAME` of the new Secret. Throws CommandError where it exists, ApiError. */
async function createSecret(
  args: CommandArguments,
  io: CommandIo,
  name: string,
  files: Readonly<Record<string, string>>,
): Promise<string> {
  const connection = await connect(args, io);
  const client = createClient(connection, COMMAND_RETRIES);
  const namespace = args.string('namespace') ?? connection.defaultNamespace;
  const data = Object.fromEntries(
    Object.entries(files).map(([key, text]) => [key, Buffer.from(text).toString('base64')]),
  );
  try {
    const secret = {
      metadata: { namespace, name },
      type: 'kubernetes.io/tls',
      data,
    };
    await client.create(SECRETS, secret, { signal: io.signal });
    return `${namespace}/${name}`;
  } catch (error) {
    if (!isApiError(error, 'AlreadyExists')) throw error;
    throw new CommandError(
      `Secret "${name}" exists in namespace "${namespace}": choose another name, or delete it (kubectl delete secret ${name} ` +
        `-n ${namespace}); dcred dev-ca never replaces one`,
      { cause: error },
    );
  } finally {
    await client.close();
  }
}
