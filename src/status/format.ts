/** Overviews as text: a table of resources, or a tree of each with its pods. */
import { printable } from '../text/printable.ts';
import { formatRfc3339 } from '../text/rfc3339.ts';
import type { GrantFact } from './grants.ts';
import type { CredentialState, PodOverview, ResourceOverview } from './overview.ts';
import { paint } from './paint.ts';
import type { SignerFact } from './signer.ts';

export interface FormatOptions {
  /** Seconds since the epoch. */
  readonly now: number;
  /** ANSI colours. */
  readonly colour: boolean;
}

const HEADER = [
  'NAMESPACE',
  'NAME',
  'READY',
  'REASON',
  'PODS',
  'ISSUED',
  'FAILED',
  'RENEWS',
  'EXPIRES',
  'LEAF EXPIRES',
];

export function formatTable(resources: readonly ResourceOverview[], options: FormatOptions): string {
  const rows = resources.map(({ name, namespace, ready, reason, status }) => [
    namespace,
    name,
    ready,
    reason,
    ...[status.pods?.selected, status.pods?.issued, status.pods?.failed].map((count) => String(count ?? '-')),
    ...[status.nextRenewalTime, status.earliestExpiryTime, status.certificate?.notAfter].map((time) =>
      relative(secondsOf(time), options.now),
    ),
  ]);
  const lines = align([HEADER, ...rows]);
  const shown = lines.map((line, position) => {
    const resource = resources[position - 1];
    return resource === undefined ? line : paint(line, resource.ready === 'True' ? undefined : 'red', options.colour);
  });
  const problems = resources.filter(({ ready }) => ready !== 'True');
  const explained = problems.map(({ message, name, namespace }) => `${namespace}/${name}: ${printable(message, 1024)}`);
  return [...shown, ...(explained.length === 0 ? [] : ['', ...explained]), ''].join('\n');
}

export function formatTree(resource: ResourceOverview, options: FormatOptions): string {
  const { certificateName, grant, message, name, namespace, pods, ready, reason, signer, status, suspended, warnings } =
    resource;
  const { certificate } = status;
  const rows = [
    `${namespace}/${name}  ${paint(`Ready=${ready} ${reason}`, ready === 'True' ? 'green' : 'red', options.colour)}`,
    `  ${printable(message, 1024)}`,
    ...warnings.map((one) => paint(`  ${titleOf(one)}: ${printable(one.message, 1024)}`, 'yellow', options.colour)),
    ...(suspended ? [paint('  suspended: nothing is issued or re-issued', 'yellow', options.colour)] : []),
    ...(grant === undefined ? [] : [grantRow(grant, options.colour)]),
    `  certificate  ${describeCertificate(certificateName, certificate, options.now)}`,
    ...(signer === undefined ? [] : [signerRow(signer, options.colour)]),
    `  renewal      next ${relative(secondsOf(status.nextRenewalTime), options.now)}, first expiry ${relative(secondsOf(status.earliestExpiryTime), options.now)}`,
    `  pods         ${pods.length}${pods.length === 0 ? '' : `: ${countStates(pods)}`}`,
    ...podRows(pods, options),
  ];
  return `${rows.join('\n')}\n`;
}

/** `CertificateExpiring` is the reason of the condition `CertificateExpiring`. */
function titleOf({ reason, type }: ResourceOverview['warnings'][number]): string {
  return type === reason ? type : `${type}: ${reason}`;
}

function grantRow(grant: GrantFact, colour: boolean): string {
  switch (grant.kind) {
    case 'granted': {
      const pods = grant.maxPods === undefined ? '' : `, at most ${grant.maxPods} pods`;
      return `  grant        ${grant.grant}: lifetime at most ${span(grant.lifetimeSeconds)}${pods}`;
    }
    case 'refused':
      return paint('  grant        none: ask the owner of the certificate for a DelegationGrant', 'red', colour);
    case 'signer':
      return "  grant        the signer's: no DelegationGrant of this cluster covers it";
    case 'unseen':
      return '  grant        needed; you have no permission to see it';
  }
}

const SIGNER_PROBLEMS: Readonly<Record<NonNullable<SignerFact['problem']>, string>> = {
  silent: 'does not answer',
  'no-certificate': "see the signer's log",
};

function signerRow({ deployment, problem, url }: SignerFact, colour: boolean): string {
  const where =
    deployment === undefined
      ? printable(url ?? '', 128)
      : `${deployment.name}, ${deployment.available} of ${deployment.replicas} available`;
  const words = [where, problem === undefined ? '' : SIGNER_PROBLEMS[problem]];
  const isBad = problem !== undefined || deployment?.available === 0;
  return paint(`  signer       ${words.filter((word) => word !== '').join('; ')}`, isBad ? 'red' : undefined, colour);
}

function describeCertificate(
  name: string | undefined,
  certificate: ResourceOverview['status']['certificate'],
  now: number,
): string {
  if (certificate === undefined) return `${name ?? '(unknown)'}, not read`;
  const subject = certificate.subject || certificate.dnsNames?.[0] || 'no subject';
  const expiry = relative(secondsOf(certificate.notAfter), now);
  return `${name ?? '(unknown)'}, ${printable(subject)}, ${certificate.keyAlgorithm}, expires ${expiry}`;
}

function countStates(pods: readonly PodOverview[]): string {
  const counts = new Map<CredentialState, number>();
  for (const { state } of pods) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...counts].map(([state, count]) => `${count} ${state}`).join(', ');
}

function podRows(pods: readonly PodOverview[], options: FormatOptions): readonly string[] {
  const cells = pods.map((pod) => [pod.name, ageBar(pod, options.now), describePod(pod, options.now)]);
  return align(cells).map((line, position) => {
    const pod = pods[position];
    const branch = position === pods.length - 1 ? '└─' : '├─';
    const colour = pod?.state === 'current' ? undefined : pod?.state === 'outdated' ? 'yellow' : 'red';
    return `  ${branch} ${paint(line, colour, options.colour)}`;
  });
}

/** A row with the name of a Deployment's pod, and times of two digits, fits 80 columns. */
const BAR_CELLS = 12;

/** How much of a credential's life is over, with the moment of its renewal as a line. */
export function ageBar({ expiresAt, issuedAt, renewAt }: PodOverview, now: number): string {
  if (issuedAt === undefined || expiresAt === undefined || renewAt === undefined) return ' '.repeat(BAR_CELLS);
  const life = Math.max(1, expiresAt - issuedAt);
  const cellOf = (moment: number) => Math.floor((Math.min(Math.max(moment - issuedAt, 0), life) / life) * BAR_CELLS);
  const [over, renewal] = [cellOf(now), Math.min(cellOf(renewAt), BAR_CELLS - 1)];
  return Array.from({ length: BAR_CELLS }, (_, cell) => (cell === renewal ? '│' : cell < over ? '█' : '░')).join('');
}

function describePod({ expiresAt, gated, issuedAt, renewAt, secret, state }: PodOverview, now: number): string {
  if (state === 'missing') return gated ? 'no credential: not scheduled until it has one' : 'no credential';
  if (state === 'unknown') return `Secret ${secret}: another client changed its annotations`;
  const times = [
    issuedAt === undefined ? '-' : `${span(Math.max(0, now - issuedAt))} old`,
    `renews ${relative(renewAt, now)}`,
    `${state === 'expired' ? 'expired' : 'expires'} ${relative(expiresAt, now)}`,
  ].join(', ');
  return state === 'outdated' ? `${times}; of an earlier certificate` : times;
}

/** `in 3h`, `12m ago`; a date for what is more than a month away; `-` for none. */
export function relative(moment: number | undefined, now: number): string {
  if (moment === undefined) return '-';
  const distance = Math.abs(moment - now);
  if (distance > 31 * DAY) return formatRfc3339(moment).slice(0, 10);
  const text = span(distance);
  return moment >= now ? `in ${text}` : `${text} ago`;
}

const DAY = 86_400;

/** In the largest unit of which there are two at least. */
function span(seconds: number): string {
  if (seconds >= 2 * DAY) return `${Math.floor(seconds / DAY)}d`;
  if (seconds >= 2 * 3_600) return `${Math.floor(seconds / 3_600)}h`;
  return seconds >= 2 * 60 ? `${Math.floor(seconds / 60)}m` : `${seconds}s`;
}

function secondsOf(time: string | undefined): number | undefined {
  const milliseconds = Date.parse(time ?? '');
  return Number.isNaN(milliseconds) ? undefined : Math.floor(milliseconds / 1000);
}

/** Rows with columns of one width each; the last is not padded. */
export function align(rows: readonly (readonly string[])[]): readonly string[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, cell.length);
  }
  return rows.map((row) =>
    row.map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] ?? 0))).join('  '),
  );
}
