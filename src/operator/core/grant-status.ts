/** The status of a grant: a pure function of who uses it. Times in seconds since the epoch. */
import { type DelegationGrantStatus, MAX_USERS } from '../../api/delegation-grant.ts';
import { setCondition } from '../../kubernetes/conditions.ts';
import type { Condition } from '../../kubernetes/objects.ts';
import { printable } from '../../text/printable.ts';
import type { CertificateState } from './certificate-state.ts';

/** The types of conditions that dcred writes; those of any other type belong to others. */
export const GRANT_CONDITION_TYPES: ReadonlySet<string> = new Set(['Accepted', 'CertificateUsable']);

export interface GrantStatusInput {
  readonly generation: number;
  /** Without the conditions of others: what dcred applies it owns, and would write over their next version. */
  readonly previous: DelegationGrantStatus;
  /** What is wrong with its spec; undefined where nothing is. */
  readonly problem: string | undefined;
  /** By namespace: how many pods have a credential by the grant. */
  readonly users: ReadonlyMap<string, number>;
  /** As it was read; `pending` where nobody uses it. */
  readonly certificate: CertificateState;
  readonly now: number;
}

const MAX_MESSAGE_LENGTH = 4096;
/** Of the API's int32: counts come from the status of other resources too, which their writers may exaggerate. */
const MAX_COUNT = 2 ** 31 - 1;

export function grantStatus(input: GrantStatusInput): DelegationGrantStatus {
  const { generation, users } = input;
  const sorted = [...users]
    .map(([namespace, pods]) => [namespace, Math.min(pods, MAX_COUNT)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    observedGeneration: generation,
    conditions: conditionsOf(input),
    namespaces: users.size,
    pods: Math.min(
      sorted.reduce((sum, [, pods]) => sum + pods, 0),
      MAX_COUNT,
    ),
    ...(sorted.length > 0 && { users: sorted.slice(0, MAX_USERS).map(([namespace, pods]) => ({ namespace, pods })) }),
  };
}

function conditionsOf({ certificate, generation, now, previous, problem }: GrantStatusInput): Condition[] {
  const found = (previous.conditions ?? []) as readonly Condition[];
  const set = (
    conditions: readonly Condition[],
    type: string,
    status: 'True' | 'False',
    reason: string,
    text: string,
  ) =>
    setCondition(
      conditions,
      { type, status, reason, message: printable(text, MAX_MESSAGE_LENGTH), observedGeneration: generation },
      now * 1000,
    );
  const accepted =
    problem === undefined
      ? set(found, 'Accepted', 'True', 'Accepted', 'the grant is in force')
      : set(found, 'Accepted', 'False', 'SpecInvalid', `the grant permits nothing (${problem}): correct it`);
  // Only its owner may know: who uses the grant gets the same words as without one.
  if (certificate.kind === 'refused') {
    return [...set(accepted, 'CertificateUsable', 'False', certificate.reason, certificate.message)];
  }
  return accepted.filter(({ type }) => type !== 'CertificateUsable');
}
