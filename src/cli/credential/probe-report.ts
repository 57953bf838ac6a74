/** What `dcred probe` prints. */
import type { Attempt, Ordinary, ProbeReport } from '../../probe/probe.ts';
import { formatTarget, type Target } from '../../probe/target.ts';
import { printable, printableList } from '../../text/printable.ts';
import { formatRfc3339 } from '../../text/rfc3339.ts';
import { formatDuration } from '../options/duration.ts';
import { jsonText } from '../output.ts';

/** Whether every check holds and, where one is expected, a credential was served. */
export function isHealthy({ supporting }: ProbeReport, expectCredential: boolean): boolean {
  if (!supporting.ok || supporting.assessment.checks.some(({ ok }) => !ok)) return false;
  return !expectCredential || supporting.assessment.credential !== undefined;
}

export interface ProbeTextOptions {
  readonly target: Target;
  readonly report: ProbeReport;
  readonly expectCredential: boolean;
  /** Seconds since the epoch. */
  readonly now: number;
}

export function formatProbeText({ expectCredential, now, report, target }: ProbeTextOptions): string {
  const { ordinary, supporting, tls12 } = report;
  const lines = [formatTarget(target), ''];
  if (supporting.ok) {
    lines.push(...describeServed(supporting, now), '');
    lines.push(...supporting.assessment.checks.map(formatCheck));
    if (expectCredential && supporting.assessment.credential === undefined) {
      lines.push(`failed  a delegated credential is served: ${whyNone(supporting)}`);
    }
  } else {
    lines.push(`failed  TLS 1.3 with delegated credentials: ${supporting.message} (${supporting.code})`);
  }
  const leaf = supporting.ok ? supporting.assessment.certificate.sha256 : undefined;
  lines.push(
    '',
    ...rows([
      ['TLS 1.3, no support for credentials', describeOrdinary(ordinary, leaf)],
      ['TLS 1.2', describeOrdinary(tls12, leaf)],
    ]),
    '',
  );
  return lines.join('\n');
}

type Served = Extract<ProbeReport['supporting'], { ok: true }>;

function describeServed({ assessment, handshake }: Served, now: number): readonly string[] {
  const { certificate, credential } = assessment;
  const retried = handshake.retried ? ', after a HelloRetryRequest' : '';
  return rows([
    ['delegated credential', credential === undefined ? `none (${whyNoneShort(certificate.canDelegate)})` : 'served'],
    ...(credential === undefined
      ? []
      : ([
          ['  expires', `${formatRfc3339(credential.expiresAt)} (${remaining(credential.expiresAt, now)})`],
          ['  algorithms', `${credential.dcCertVerifyAlgorithm}, signed by ${credential.algorithm}`],
          ['  key sha256', credential.publicKeySha256],
          ['  sha256', credential.sha256],
        ] as const)),
    ['certificate', certificate.subject || (certificate.dnsNames[0] ?? '(no subject)')],
    ['  DNS names', printableList(certificate.dnsNames, { maxItems: 10, separator: ' ' }) || '(none)'],
    ['  key', certificate.key],
    ['  expires', `${formatRfc3339(certificate.notAfter)} (${remaining(certificate.notAfter, now)})`],
    ['  sha256', certificate.sha256],
    ['  can delegate', certificate.canDelegate ? 'yes' : 'no'],
    ['TLS 1.3', `${handshake.cipherSuite}, ${handshake.group}, ${handshake.signatureScheme}${retried}`],
    ...(handshake.alpn === undefined ? [] : ([['ALPN', printable(handshake.alpn)]] as const)),
    ...(handshake.clientCertificateRequested ? ([['client certificate', 'requested']] as const) : []),
  ]);
}

function whyNoneShort(canDelegate: boolean): string {
  return canDelegate ? 'the certificate would allow one' : 'the certificate does not allow one';
}

function whyNone({ assessment }: Served): string {
  return assessment.certificate.canDelegate
    ? 'the server sent none: check that it loads dc.key and the credential, and was reloaded'
    : 'the certificate has no DelegationUsage extension: get one that has';
}

function describeOrdinary(attempt: Attempt<Ordinary>, leaf: string | undefined): string {
  if (!attempt.ok) return `failed: ${attempt.message}`;
  const { certificateSha256: sha256, cipherSuite } = attempt;
  const which =
    sha256 === undefined ? 'no certificate' : sha256 === leaf ? 'the same certificate' : `certificate ${sha256}`;
  return `${which}, ${cipherSuite}`;
}

function formatCheck({ message, name, ok }: { name: string; ok: boolean; message: string }): string {
  return `${ok ? 'ok    ' : 'failed'}  ${name}${message === '' ? '' : `: ${message}`}`;
}

function rows(pairs: readonly (readonly [string, string])[]): readonly string[] {
  const width = Math.max(...pairs.map(([label]) => label.length));
  return pairs.map(([label, value]) => `${label.padEnd(width)}  ${value}`);
}

function remaining(time: number, now: number): string {
  if (time < now) return `${formatDuration(now - time)} ago`;
  return time - now >= 3 * 86_400 ? `in ${Math.floor((time - now) / 86_400)} days` : `in ${formatDuration(time - now)}`;
}

/** For programs: times in RFC 3339, hashes in hex, bytes not at all. */
export function formatProbeJson(target: Target, { ordinary, supporting, tls12 }: ProbeReport): string {
  const report = {
    target: formatTarget(target),
    delegatedCredentials: supporting.ok ? describeJson(supporting) : failed(supporting),
    withoutDelegatedCredentials: ordinary.ok ? ordinary : failed(ordinary),
    tls12: tls12.ok ? tls12 : failed(tls12),
  };
  return jsonText(report);
}

function describeJson({ assessment, handshake }: Served): object {
  const { certificate, checks, credential } = assessment;
  const { alpn, cipherSuite, clientCertificateRequested, group, retried, signatureScheme } = handshake;
  return {
    ok: true,
    cipherSuite,
    group,
    signatureScheme,
    retried,
    alpn: alpn === undefined ? undefined : printable(alpn),
    clientCertificateRequested,
    certificate: {
      ...certificate,
      notBefore: formatRfc3339(certificate.notBefore),
      notAfter: formatRfc3339(certificate.notAfter),
    },
    credential: credential === undefined ? null : { ...credential, expiresAt: formatRfc3339(credential.expiresAt) },
    checks,
  };
}

function failed({ code, message }: { readonly code: string; readonly message: string }): object {
  return { ok: false, code, message };
}
