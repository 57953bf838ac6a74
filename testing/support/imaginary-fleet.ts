/** The audit result of an imaginary fleet, for the report: as large and as hostile as the test wants. */

import { type AuditedPod, readAuditedPod } from '../../src/audit/pod.ts';
import { type AuditEntry, type AuditResult, auditResult } from '../../src/audit/result.ts';
import type { AuditState, Served, Verdict } from '../../src/audit/verdict.ts';
import { facts, LIFETIME, NOW, podOf, resource, SHA256 } from './builders.ts';

export interface FleetOptions {
  readonly pods: number;
  /** Default: one pod in fifty has a finding. */
  readonly stateOf?: (index: number) => AuditState;
  readonly nameOf?: (index: number) => string;
  readonly messageOf?: (index: number) => string;
  readonly namespace?: string;
}

const OTHER_LEAF = 'b7'.repeat(32);
const LEAF_END = NOW + 3 * LIFETIME;
const DAY = 86_400;

export function imaginaryFleet(options: FleetOptions): AuditResult {
  const { namespace = 'edge' } = options;
  const resources = ['web', 'gateway', 'mail'].map((name) => resource({ name, namespace }));
  const entries = Array.from({ length: options.pods }, (_, index): AuditEntry => {
    const of = resources[index % 7 === 0 ? 2 : index % 3 === 0 ? 1 : 0];
    if (of === undefined) throw new TypeError('no resource');
    const state = (options.stateOf ?? usualState)(index);
    // Renewals are spread over a lifetime, as the schedule spreads them.
    const issuedAt = NOW - Math.floor((((index * 7919) % options.pods) / options.pods) * (LIFETIME / 2));
    const held = { ...facts({ issuedAt }), certificateSha256: SHA256 };
    const served = servedBy(state, held.expiresAt);
    return {
      subject: {
        resource: of,
        pod: podAt(index, namespace, issuedAt, options),
        endpoint: { known: true, port: 8443, starttls: undefined },
        serverName: 'web.example',
        secretName: `web-${index}`,
        facts: state === 'no-secret' ? undefined : held,
      },
      verdict: verdictOf(state, issuedAt, options.messageOf?.(index)),
      served,
    };
  });
  return auditResult({ resources, entries, startedAt: NOW - 17, finishedAt: NOW });
}

function usualState(index: number): AuditState {
  const rare: readonly AuditState[] = [
    'stale',
    'unreachable',
    'none',
    'wrong-leaf',
    'invalid',
    'other',
    'updating',
    'not-running',
  ];
  return index % 47 === 5 ? (rare[Math.floor(index / 47) % rare.length] ?? 'current') : 'current';
}

function podAt(index: number, namespace: string, issuedAt: number, { nameOf }: FleetOptions): AuditedPod {
  const name = nameOf?.(index) ?? `web-7d9c5b6f4-${(index * 2_654_435_761).toString(36).slice(-5)}${index}`;
  const created = new Date((issuedAt - ((index * 137) % (6 * DAY))) * 1000).toISOString();
  return {
    ...readAuditedPod({ metadata: { creationTimestamp: created } }),
    ...podOf({ name, namespace }),
    ip: '10.0.0.1',
    running: true,
  };
}

function servedBy(state: AuditState, expiresAt: number): Served | undefined {
  if (state === 'unreachable' || state === 'not-running' || state === 'no-secret' || state === 'no-port')
    return undefined;
  const isEarlier = state === 'stale' || state === 'invalid' || state === 'updating';
  return {
    certificateSha256: state === 'wrong-leaf' ? OTHER_LEAF : SHA256,
    certificateNotAfter: LEAF_END,
    credential:
      state === 'none'
        ? undefined
        : { sha256: 'd'.repeat(64), expiresAt: isEarlier ? expiresAt - LIFETIME : expiresAt },
    problems: [],
  };
}

function verdictOf(state: AuditState, since: number, message: string | undefined): Verdict {
  return { state, message: message ?? `found ${state}: reload the server, and check which file it loads`, since };
}
