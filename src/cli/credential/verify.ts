import type { Certificate } from '../../credential/certificate.ts';
import { USAGES, type Usage } from '../../credential/scheme.ts';
import { findTrustPath } from '../../credential/trust-path.ts';
import { type VerifyRequest, type VerifyResult, verifyCredential } from '../../credential/verify.ts';
import { formatRfc3339 } from '../../text/rfc3339.ts';
import type { Command } from '../command.ts';
import { readCaFile, readChainFile, readCredential, readCredentialKeyFile } from '../options/credential-input.ts';
import { formatDuration } from '../options/duration.ts';
import { parseTimestamp } from '../options/timestamp.ts';

export const verifyCommand: Command = {
  name: 'verify',
  summary: 'check a delegated credential against its certificate',
  usage: 'verify --cert FILE --dc FILE',
  description:
    'Makes every check that a TLS peer makes of a credential (RFC 9345 section 4.1.3), the signature by two independent ' +
    'implementations, and prints each with its outcome. Exit status 1 when any fails. Needs no cluster.',
  example: 'dcred verify --cert web/tls.crt --dc web/dc.bin --key web/dc.key',
  options: {
    cert: { type: 'string', value: 'FILE', help: 'the delegation certificate, PEM: leaf first, then its chain' },
    dc: { type: 'string', value: 'FILE', help: 'the credential: dc.bin, dc.hex, dc.pem or fizz.pem' },
    key: { type: 'string', value: 'FILE', help: 'private key that the credential must be for' },
    usage: { type: 'string', value: 'USAGE', default: 'Server', choices: USAGES, help: 'which side of TLS uses it' },
    at: { type: 'string', value: 'TIME', help: 'time to verify at (RFC 3339); default: now' },
    ca: { type: 'string', value: 'FILE', help: 'also check that one of these CAs, PEM, issued the certificate' },
  },

  async run(args, io) {
    const { signal } = io;
    const certificatePath = args.required('cert');
    const credentialPath = args.required('dc');
    const keyPath = args.string('key');
    const caPath = args.string('ca');
    const at = args.string('at');
    const now = at === undefined ? Math.floor(io.now() / 1000) : parseTimestamp(at, '--at');

    const [certificate, ...chain] = await readChainFile(certificatePath, signal);
    const { bytes } = await readCredential(credentialPath, signal);
    const publicKey =
      keyPath === undefined ? undefined : (await readCredentialKeyFile(keyPath, signal)).subjectPublicKeyInfo;
    const roots = caPath === undefined ? undefined : await readCaFile(caPath, signal);

    const request: VerifyRequest = {
      bytes,
      certificate,
      usage: args.required('usage') as Usage,
      now,
      ...(publicKey === undefined ? {} : { publicKey }),
    };
    const lines = [
      ...(await checkCredential(request)),
      ...(roots === undefined ? [] : [checkTrust(certificate, chain, roots, now)]),
    ];
    io.stdout.write(lines.map(formatLine).join(''));
    const failed = lines.filter((line) => !line.ok);
    io.stdout.write(failed.length === 0 ? accepted(verifyCredential(request), now) : refused(failed));
    return failed.length === 0 ? 0 : 1;
  },
};

interface Line {
  readonly name: string;
  readonly ok: boolean;
  readonly code: string;
  readonly message: string;
}

/** Both implementations make all checks; they can only differ about the signature, so only that is shown for each. */
async function checkCredential(request: VerifyRequest): Promise<readonly Line[]> {
  const byNode = verifyCredential(request);
  // Loaded here, so that no other command pays for the second implementation.
  const { verifyWithNoble } = await import('../../credential/noble.ts');
  const byNoble = verifyCredential({ ...request, verifySignature: verifyWithNoble });
  return byNode.checks.flatMap((check, position) => {
    const other = byNoble.checks[position];
    if (check.code !== 'BadSignature' || other === undefined) return [check];
    return [
      { ...check, name: `${check.name} (node:crypto)` },
      { ...other, name: `${other.name} (@noble/curves)` },
    ];
  });
}

function checkTrust(
  certificate: Certificate,
  chain: readonly Certificate[],
  roots: readonly Certificate[],
  now: number,
): Line {
  const name = 'the certificate chains to the CA';
  const path = findTrustPath(certificate, chain, roots, now);
  if (path !== undefined) {
    return { name, ok: true, code: 'Untrusted', message: path.map(({ subject }) => subject).join(' < ') };
  }
  const message =
    `no valid path from "${certificate.subject}" to a certificate in the CA file: give the CA that issued it, and its ` +
    'intermediates after the leaf';
  return { name, ok: false, code: 'Untrusted', message };
}

function formatLine({ message, name, ok }: Line): string {
  const status = ok ? 'ok    ' : 'failed';
  return ok && message !== '' ? `${status}  ${name}: ${message}\n` : `${status}  ${name}\n`;
}

function accepted(result: VerifyResult, now: number): string {
  if (!result.ok) throw new TypeError('a credential whose every check holds was refused');
  return `\nGood until ${formatRfc3339(result.expiresAt)} (${formatDuration(result.expiresAt - now)} remain)\n`;
}

function refused(failed: readonly Line[]): string {
  const reasons = [...new Map(failed.map(({ code, message }) => [message, `  ${code}: ${message}\n`])).values()];
  return `\nRefused:\n${reasons.join('')}`;
}
