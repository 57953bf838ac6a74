/** Whether certificates are fit to delegate: by the operator's own code, and so with its reasons. */
import type { Usage } from '../credential/scheme.ts';
import type { ObjectKey } from '../issued-secret/names.ts';
import { isApiError, isMissing } from '../kubernetes/api-error.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { Condition } from '../kubernetes/objects.ts';
import { SECRETS } from '../kubernetes/resource-type.ts';
import { OWN } from '../operator/core/access.ts';
import { expiring } from '../operator/core/certificate-conditions.ts';
import {
  type CertificateSecret,
  type CertificateState,
  readCertificateSecret,
  stateAt,
  stateFor,
} from '../operator/core/certificate-state.ts';
import type { ReadyReason } from '../operator/core/status.ts';
import type { GrantFact } from '../status/grants.ts';
import { printable } from '../text/printable.ts';
import { formatRfc3339 } from '../text/rfc3339.ts';
import { type Finding, ok, problem, warning } from './finding.ts';

type Client = Pick<ApiClient, 'get'>;

/** A certificate, and what is to be done with it. */
export interface Wanted {
  /** Who wants it, for messages: `DelegatedCredential edge/web`. */
  readonly what: string;
  readonly namespace: string;
  readonly certificateRef: { readonly name: string; readonly namespace?: string | undefined };
  readonly usage: Usage;
  /** Of its credentials. */
  readonly lifetimeSeconds: number;
  /** What the operator says of the resource as it is now; undefined where it says nothing yet. */
  readonly ready?: Pick<Condition, 'reason' | 'message'> | undefined;
  /**
   * The operator has it from a signer, which finds it by this name where it is: perhaps in no Secret, perhaps in no cluster. Undefined: I may not
   * see how the operator has it.
   */
  readonly bySigner?: boolean | undefined;
}

/**
 * @param client undefined: the Secret is not read, and the operator's word for it is reported
 * @param now seconds since the epoch, by the API server's clock
 */
export async function checkCertificate(
  client: Client | undefined,
  wanted: Wanted,
  now: number,
  signal: AbortSignal,
): Promise<Finding> {
  const { bySigner, certificateRef, lifetimeSeconds, namespace, ready, usage, what } = wanted;
  const secret: ObjectKey = { namespace: certificateRef.namespace ?? namespace, name: certificateRef.name };
  if (bySigner) return asReported(`${what}: the signer has ${secret.namespace}/${secret.name}`, ready);
  if (client === undefined) return asReported(`${what}: Secret ${secret.namespace}/${secret.name} not read`, ready);
  let state: CertificateState;
  try {
    const read = await readState(client, secret, signal);
    state = stateAt(
      // The grant is checked apart: here the certificate counts alone.
      stateFor({ certificateRef: { name: secret.name }, usage }, secret.namespace, OWN, () => read),
      now,
    );
  } catch (error) {
    if (!isApiError(error, 'Forbidden')) throw error;
    return asReported(`${what}: no permission to read Secret ${secret.namespace}/${secret.name}`, ready);
  }
  const isAbsent = state.kind === 'refused' && state.reason === 'CertificateNotFound';
  if (isAbsent && bySigner === undefined && ready !== undefined && NEEDS_CERTIFICATE.has(ready.reason))
    return asReported(`${what}: no Secret ${secret.namespace}/${secret.name} in this cluster`, ready);
  if (state.kind === 'refused')
    return problem(state.reason, `${what}: ${printable(state.message, 1024)}`, 'correct the certificate');
  if (state.kind === 'pending') return warning('Certificate', `${what}: not read`, 'run this again');
  const { certificate } = state;
  const name = printable(certificate.subject || certificate.dnsNames[0] || 'a leaf without a name');
  const expiry = formatRfc3339(certificate.notAfter);
  const message = `${what}: ${name} in Secret ${secret.namespace}/${secret.name} can delegate (${certificate.keyAlgorithm}, until ${expiry})`;
  if (ready !== undefined && isRefusal(ready))
    return problem(ready.reason, `${message}; ${saidBy(ready)}`, 'correct what the operator names');
  if (expiring(certificate, lifetimeSeconds, now) === undefined) return ok('Certificate', message);
  return warning('Certificate', `${message}, which is soon`, 'renew the certificate: no credential outlives it');
}

async function readState(client: Client, secret: ObjectKey, signal: AbortSignal): Promise<CertificateState> {
  try {
    const found = await client.get<CertificateSecret>(SECRETS, secret, { signal });
    return await readCertificateSecret(found, secret.name, signal);
  } catch (error) {
    if (isMissing(error)) return await readCertificateSecret(undefined, secret.name, signal);
    throw error;
  }
}

/** For who may not read Secrets, as is right for most people. */
function asReported(unread: string, ready: Wanted['ready']): Finding {
  if (ready === undefined) {
    return warning(
      'Certificate',
      `${unread}, and no operator has reported on it`,
      'run this as a user who may read it',
    );
  }
  if (isRefusal(ready)) return problem(ready.reason, `${unread}; ${saidBy(ready)}`, 'correct the certificate');
  if (ready.reason === 'SignerUnavailable') {
    const remedy = 'check that the signer runs, that the operator reaches it, and what its log says of the certificate';
    return problem(ready.reason, `${unread}; ${saidBy(ready)}`, remedy);
  }
  return ok('Certificate', `${unread}; ${saidBy(ready)}`);
}

/** An operator that reports one of these has the certificate, or a signer that should: `Suspended` and others say nothing of it. */
const NEEDS_CERTIFICATE: ReadonlySet<string> = new Set([
  'Issued',
  'Issuing',
  'NoPods',
  'PodsFailed',
  'SignerUnavailable',
] satisfies readonly ReadyReason[]);

/** It may refuse what is good by itself: by its own flags, and by what it may not read. */
function isRefusal({ reason }: NonNullable<Wanted['ready']>): boolean {
  return reason.startsWith('Certificate');
}

function saidBy({ message, reason }: NonNullable<Wanted['ready']>): string {
  return `the operator reports ${printable(reason)}: ${printable(message, 1024)}`;
}

/** @param fact undefined where no grant is needed */
export function checkGrant(what: string, fact: GrantFact | undefined): readonly Finding[] {
  switch (fact?.kind) {
    case undefined:
      return [];
    case 'granted':
      return [ok('Grant', `${what}: DelegationGrant ${fact.grant} permits its certificate`)];
    case 'refused': {
      const remedy = 'ask the owner of the certificate for a DelegationGrant in its namespace';
      return [problem('CertificateNotPermitted', `${what}: no DelegationGrant permits its certificate`, remedy)];
    }
    case 'signer':
      return [ok('Grant', `${what}: no DelegationGrant of this cluster permits its certificate; the signer decides`)];
    case 'unseen': {
      const message = `${what}: no permission to see whether a DelegationGrant permits its certificate`;
      return [warning('Grant', message, 'ask the owner of the certificate')];
    }
  }
}
