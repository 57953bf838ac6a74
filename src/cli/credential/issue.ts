import { type CredentialKey, generateCredentialKey } from '../../credential/credential-key.ts';
import { type DelegationCertificate, readDelegationCertificate } from '../../credential/delegation-certificate.ts';
import {
  CREDENTIAL_FILE_NAMES,
  type CredentialFileName,
  credentialFiles,
  SECRET_FILE_NAMES,
} from '../../credential/files.ts';
import { type IssuedCredential, type IssueRequest, issueCredential } from '../../credential/issue.ts';
import { MAX_LIFETIME_SECONDS, MIN_LIFETIME_SECONDS } from '../../credential/lifetime.ts';
import { KEY_ALGORITHMS, type KeyAlgorithm, USAGES, type Usage } from '../../credential/scheme.ts';
import { assertSignerMatches, type Signer, signerFromPem } from '../../credential/signer.ts';
import { verifyCredential } from '../../credential/verify.ts';
import { formatRfc3339 } from '../../text/rfc3339.ts';
import { explainFileError } from '../../text/system-error.ts';
import { type Command, type CommandArguments, CommandError, type CommandIo, UsageError } from '../command.ts';
import { namingFile, reading } from '../options/credential-input.ts';
import { formatDuration, parseDuration } from '../options/duration.ts';
import { readInputText } from '../options/input.ts';
import { KEY_URI_HELP, KEY_VALUE, readKeyOption, withRemoteKey } from '../options/key-option.ts';
import { SIGNER_OPTIONS } from '../options/signer-options.ts';
import { BY_SIGNER_OPTIONS, withSigner } from './issue-by-signer.ts';
import { replaceFiles } from './replace-files.ts';

export const issueCommand: Command = {
  name: 'issue',
  summary: 'make a key and a delegated credential for it, as files',
  usage: 'issue (--cert FILE --key KEY | --signer URL --certificate NAMESPACE/NAME) --out DIR',
  description:
    'Makes a fresh key, signs a delegated credential for it with the key of the delegation certificate, verifies it, and writes ' +
    `the same files as in an issued Secret into DIR: ${CREDENTIAL_FILE_NAMES.join(', ')}. ` +
    'Files of an earlier credential in DIR are replaced, all at once. Needs no cluster. A dcred signer can give the certificate and ' +
    'sign: for servers outside of Kubernetes that must not have its key.',
  example: 'dcred issue --cert leaf.crt --key leaf.key --out web --lifetime 48h',
  options: {
    cert: { type: 'string', value: 'FILE', help: 'the delegation certificate, PEM: leaf first, then its chain' },
    key: { type: 'string', value: KEY_VALUE, help: `its private key, PEM: ${KEY_URI_HELP}` },
    out: { type: 'string', value: 'DIR', help: 'directory to write to; made with mode 0700 if missing' },
    algorithm: {
      type: 'string',
      value: 'ALGORITHM',
      default: 'ECDSAP256',
      choices: KEY_ALGORITHMS,
      help: 'algorithm of the new key; browsers accept the ECDSA ones',
    },
    lifetime: {
      type: 'string',
      value: 'DURATION',
      default: '48h',
      help: `from ${formatDuration(MIN_LIFETIME_SECONDS)} to ${formatDuration(MAX_LIFETIME_SECONDS)}; shorter where the certificate expires first`,
    },
    usage: {
      type: 'string',
      value: 'USAGE',
      default: 'Server',
      choices: USAGES,
      help: 'which side of TLS will use it',
    },
    ...SIGNER_OPTIONS,
    signer: { ...SIGNER_OPTIONS.signer, help: 'have the credential signed by the dcred signer at https://HOST:PORT' },
    ...BY_SIGNER_OPTIONS,
  },

  async run(args, io) {
    const directory = args.required('out');
    const lifetimeSeconds = parseLifetime(args.required('lifetime'));
    const usage = args.required('usage') as Usage;
    const { signal } = io;
    const now = Math.floor(io.now() / 1000);
    const key = await generateCredentialKey(args.required('algorithm') as KeyAlgorithm);
    const request = { key, usage, lifetimeSeconds, now, signal };
    const { certificate, issued } =
      args.string('signer') === undefined ? await issueByKey(args, request, io) : await issueBySigner(args, request);
    const { subjectPublicKeyInfo: publicKey } = key;
    const verified = verifyCredential({ bytes: issued.bytes, certificate, usage, now, publicKey });
    if (!verified.ok)
      throw new CommandError(`the new credential does not verify (${verified.code}): ${verified.message}`);

    const names = await write(directory, credentialFiles({ certificate, key, issued }), signal);
    io.stdout.write(describe({ certificate, issued, directory, names, lifetimeSeconds }));
    return 0;
  },
};

type Request = Pick<IssueRequest, 'lifetimeSeconds' | 'now' | 'usage'> & {
  readonly key: CredentialKey;
  readonly signal: AbortSignal;
};

interface Issued {
  readonly certificate: DelegationCertificate;
  readonly issued: IssuedCredential;
}

async function issueByKey(args: CommandArguments, request: Request, io: CommandIo): Promise<Issued> {
  const certificatePath = args.required('cert');
  const keyOption = readKeyOption(args.required('key'));
  const { signal } = request;
  const chainPem = await readInputText(certificatePath, { what: 'a certificate chain in PEM', signal });
  const certificate = reading(certificatePath, () => readDelegationCertificate(chainPem));
  const issueBy = async (signer: Signer) => await issueCredential({ ...request, certificate, signer });
  try {
    const issued =
      'uri' in keyOption
        ? await withRemoteKey(keyOption.uri, certificate, io, issueBy)
        : await issueBy(await readSigner(keyOption.path, certificate, signal));
    return { certificate, issued };
  } catch (error) {
    throw namingFile(certificatePath, error);
  }
}

async function issueBySigner(args: CommandArguments, request: Request): Promise<Issued> {
  const { signal, usage } = request;
  return await withSigner(args, usage, signal, async ({ certificate, holder, maxLifetimeSeconds, signer }) => {
    const lifetimeSeconds = Math.min(request.lifetimeSeconds, maxLifetimeSeconds);
    const issued = await issueCredential({ ...request, certificate, holder, lifetimeSeconds, signer });
    return { certificate, issued };
  });
}

/** The text of the key is not kept: only what signs with it. */
async function readSigner(path: string, certificate: DelegationCertificate, signal: AbortSignal): Promise<Signer> {
  const pem = await readInputText(path, { what: 'a private key in PEM', signal });
  const signer = reading(path, () => signerFromPem(pem));
  await assertSignerMatches(signer, certificate, { signal });
  return signer;
}

function parseLifetime(text: string): number {
  const seconds = parseDuration(text, '--lifetime');
  if (seconds >= MIN_LIFETIME_SECONDS && seconds <= MAX_LIFETIME_SECONDS) return seconds;
  throw new UsageError(
    `--lifetime is from ${formatDuration(MIN_LIFETIME_SECONDS)} to ${formatDuration(MAX_LIFETIME_SECONDS)} (seven days less an ` +
      `hour of clock skew); got ${text}`,
  );
}

/** The key and the certificate come before the credential, which servers watch; the Fizz file of another key is removed. */
async function write(
  directory: string,
  files: ReadonlyMap<CredentialFileName, Uint8Array>,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const set = [...files].map(([name, content]) => ({
    name,
    content,
    mode: SECRET_FILE_NAMES.has(name) ? 0o600 : 0o644,
  }));
  const obsolete = CREDENTIAL_FILE_NAMES.filter((name) => !files.has(name));
  try {
    await replaceFiles(directory, set, { obsolete, signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new CommandError(`cannot write the files: ${explainFileError(directory, error)}`, { cause: error });
  }
  return set.map(({ name }) => name);
}

function describe({
  certificate,
  directory,
  issued,
  lifetimeSeconds,
  names,
}: {
  readonly certificate: DelegationCertificate;
  readonly issued: IssuedCredential;
  readonly directory: string;
  readonly names: readonly string[];
  readonly lifetimeSeconds: number;
}): string {
  const { expiresAt, issuedAt, keyAlgorithm, usage } = issued;
  const life = expiresAt - issuedAt;
  const note =
    life < lifetimeSeconds
      ? `: shorter than ${formatDuration(lifetimeSeconds)}, because ${expiresAt >= certificate.notAfter - 1 ? 'the certificate expires then' : 'no grant allows more'}`
      : '';
  return [
    `Issued a ${usage} credential on ${certificate.subject || 'a certificate without a subject'}`,
    `  key      ${keyAlgorithm}`,
    `  expires  ${formatRfc3339(expiresAt)} (in ${formatDuration(life)}${note})`,
    `  files    ${directory}: ${names.join(' ')}`,
    '',
  ].join('\n');
}
