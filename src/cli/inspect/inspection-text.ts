import { OWN_PREFIX } from '../../api/keys.ts';
/** The inspection as text. */
import { printable } from '../../text/printable.ts';
import { formatDuration } from '../options/duration.ts';
import type {
  CertificateInspection,
  CredentialInspection,
  Inspection,
  PodInspection,
  Problem,
  SecretInspection,
} from './inspection.ts';

/** 100 DNS names of usual length. */
const MAX_VALUE_LENGTH = 8_192;

/** The inspection as a person reads it: a title, aligned rows, and what is wrong. `now` in seconds since the epoch. */
export function formatInspection(inspection: Inspection, now: number): string {
  switch (inspection.kind) {
    case 'DelegatedCredential':
      return formatCredential(inspection, now);
    case 'Certificate':
      return formatCertificate(inspection, now);
    case 'Secret':
      return formatSecret(inspection, now);
    case 'Pod':
      return formatPod(inspection);
    default:
      return inspection satisfies never;
  }
}

const FORMAT_NAMES = {
  raw: 'raw bytes',
  hex: 'hex',
  pem: 'PEM',
  fizz: "Fizz's combined file",
} as const satisfies Record<CredentialInspection['format'], string>;

function formatCredential(credential: CredentialInspection, now: number): string {
  const { bytes, certificate, expiresAt, format, holdsPrivateKey, usage, validTime } = credential;
  const afterNotBefore = `${formatDuration(validTime)} after its certificate's notBefore`;
  const section = formatSection('Delegated credential', [
    ['format', `${FORMAT_NAMES[format]}, ${bytes} bytes of credential`],
    ['usage', usage],
    [
      'expires',
      expiresAt === undefined ? afterNotBefore : `${expiresAt} (${relative(expiresAt, now)}), ${afterNotBefore}`,
    ],
    ['key', `${credential.keyAlgorithm}, SPKI sha256 ${credential.publicKeySha256}`],
    ['key signs by', credential.dcCertVerifyAlgorithm],
    ['signed by', credential.algorithm],
    ['private key', holdsPrivateKey ? 'in this file, not shown' : undefined],
  ]);
  return certificate === undefined ? section : `${section}\n${formatCertificate(certificate, now)}`;
}

function formatCertificate(certificate: CertificateInspection, now: number): string {
  const { authority, canDelegate, dnsNames, dnsNamesOmitted, key, notAfter, notBefore, problems, sha256, subject } =
    certificate;
  const section = formatSection('Certificate', [
    ['subject', subject || '(empty)'],
    [
      'DNS names',
      [...dnsNames, ...(dnsNamesOmitted === 0 ? [] : [`and ${dnsNamesOmitted} more`])].join(' ') || '(none)',
    ],
    ['key', key],
    ['valid', `${notBefore} to ${notAfter} (${relative(notAfter, now)})`],
    ['sha256', sha256],
    ['CA', authority ? 'yes' : 'no'],
    ['can delegate', canDelegate ? 'yes' : 'no'],
  ]);
  return section + formatProblems(problems);
}

function formatSecret(secret: SecretInspection, now: number): string {
  const { annotations, certificate, credential, keys, name, namespace, problems, type, verified } = secret;
  const title = `Secret ${namespace === undefined ? '' : `${namespace}/`}${name}`;
  const head = formatSection(title, [
    ['type', type],
    ['data', keys.join(' ') || '(none)'],
    ...Object.entries(annotations).map(([key, value]) => [key.replace(OWN_PREFIX, ''), value] as const),
    ['verified', verified === undefined ? undefined : describeVerified(verified)],
  ]);
  const parts = [
    head + formatProblems(problems),
    ...(credential === undefined ? [] : [formatCredential(credential, now)]),
    ...(certificate === undefined ? [] : [formatCertificate(certificate, now)]),
  ];
  return parts.join('\n');
}

function formatPod({ injected, issued, name, namespace, problems, waitsFor }: PodInspection): string {
  const section = formatSection(`Pod ${namespace}/${name}`, [
    ['requests', injected.join(' ') || '(nothing)'],
    ['Secrets', issued.join(' ') || '(none)'],
    ['waits for', waitsFor.length === 0 ? undefined : `${waitsFor.join(' ')}: not scheduled until issued`],
  ]);
  return section + formatProblems(problems);
}

function describeVerified(verified: boolean): string {
  return verified ? 'yes: key, credential and certificate belong together and are good now' : 'no';
}

type Row = readonly [label: string, value: string | undefined];

function formatSection(title: string, rows: readonly Row[]): string {
  const shown = rows.filter((row): row is readonly [string, string] => row[1] !== undefined);
  const width = Math.max(...shown.map(([label]) => label.length));
  return [
    printable(title),
    ...shown.map(([label, value]) => `  ${label.padEnd(width)}  ${printable(value, MAX_VALUE_LENGTH)}`),
    '',
  ].join('\n');
}

function formatProblems(problems: readonly Problem[]): string {
  return problems.map(({ code, message }) => `  ! ${code}: ${printable(message, MAX_VALUE_LENGTH)}\n`).join('');
}

function relative(time: string, now: number): string {
  const seconds = Math.floor(Date.parse(time) / 1000) - now;
  return seconds >= 0 ? `in ${formatAge(seconds)}` : `${formatAge(-seconds)} ago`;
}

/** Days where hours would be hard to read. */
function formatAge(seconds: number): string {
  return seconds >= 3 * 86_400 ? `${Math.floor(seconds / 86_400)} days` : formatDuration(seconds);
}
