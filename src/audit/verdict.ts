/**
 * What a server serves, compared with what its pod's Secret holds. Pure: an ordered list of guards, the first that holds gives the
 * state. All times in seconds since the epoch.
 */
import { portAnnotation, RELOAD_ANNOTATION } from '../api/keys.ts';
import type { CredentialFacts } from '../issued-secret/issued-secret.ts';
import { formatRfc3339 } from '../text/rfc3339.ts';

/** In the order of their urgency: clients fail, clients will fail, clients do without, nothing is known. */
export const FINDINGS = [
  'invalid',
  'wrong-leaf',
  'other',
  'stale',
  'none',
  'no-secret',
  'unreachable',
  'no-port',
] as const;
export type FindingState = (typeof FINDINGS)[number];

/**
 * `current`: what the Secret holds is served. `updating`: the Secret was re-issued less than the grace ago, and the former credential
 * is still served. `not-running`: the pod is not running yet.
 */
export type AuditState = FindingState | 'current' | 'updating' | 'not-running';

export interface Served {
  readonly certificateSha256: string;
  readonly certificateNotAfter: number;
  readonly credential: { readonly sha256: string; readonly expiresAt: number } | undefined;
  /** Each check that a client makes and that fails: a sentence. */
  readonly problems: readonly string[];
}

/** A handshake's outcome, or why there is none. */
export type Probed =
  | { readonly reached: true; readonly served: Served }
  | { readonly reached: false; readonly code: string; readonly message: string };

/** Whose Secret holds a credential: of this pod (`namespace/name`), for this resource. */
export interface SecretHolder {
  readonly pod: string;
  readonly resource: string;
}

export interface ExpectedCredential {
  /** The audited pod, for the audited resource. */
  readonly subject: SecretHolder;
  /** The Secret's; undefined where there is no Secret, or where another client changed its annotations. */
  readonly facts: CredentialFacts | undefined;
  /** How long after a re-issue a server may still serve the former credential. */
  readonly graceSeconds: number;
  readonly now: number;
  /** As the Secrets were when the audit began: the subject's own may hold another one by now. */
  readonly holderOf: (credentialSha256: string) => SecretHolder | undefined;
}

export interface Verdict {
  readonly state: AuditState;
  /** What was found, and what to do. */
  readonly message: string;
  /** Since when at least, where that is known. */
  readonly since?: number;
}

export const NO_SECRET: Verdict = {
  state: 'no-secret',
  message:
    'there is no issued Secret for this pod, or another client changed it: see the Ready condition of the resource',
};

export function isFinding(state: AuditState): state is FindingState {
  return (FINDINGS as readonly AuditState[]).includes(state);
}

export function verdictOf(probed: Probed, expected: ExpectedCredential): Verdict {
  const { facts } = expected;
  if (facts === undefined) return NO_SECRET;
  if (!probed.reached) return { state: 'unreachable', message: `${probed.message} (${probed.code})` };
  const { served } = probed;
  const [problem] = served.problems;
  const { credential } = served;
  if (credential !== undefined && problem !== undefined) return invalid(problem, facts);
  // First of all what the Secret itself says: no other Secret that claims the same credential can be right then.
  if (
    credential !== undefined &&
    isSecrets(credential, facts) &&
    served.certificateSha256 === facts.certificateSha256
  ) {
    const message = `serves the Secret's credential, which expires at ${formatRfc3339(credential.expiresAt)}`;
    return { state: 'current', message };
  }
  const holder = credential && expected.holderOf(credential.sha256);
  if (holder !== undefined && isOtherResource(holder, expected.subject))
    return otherResourcesCredential(holder, expected.subject);
  const since = facts.issuedAt;
  const isRecent = expected.now - since < expected.graceSeconds;
  if (served.certificateSha256 !== facts.certificateSha256) {
    if (isRecent) return updating(facts);
    const message =
      `serves the certificate ${short(served.certificateSha256)}, the Secret holds ${short(facts.certificateSha256)} since ` +
      `${formatRfc3339(since)}: reload the server, and check which file it loads`;
    return { state: 'wrong-leaf', message, since };
  }
  if (credential === undefined) {
    if (isRecent) return updating(facts);
    const message =
      'serves no delegated credential: check that the server loads dc.key and the credential, and was reloaded';
    return { state: 'none', message, since };
  }
  const isOwn = holder === undefined || holder.pod === expected.subject.pod;
  return isOwn ? otherCredential(credential, facts, isRecent) : otherPodsCredential(holder, since);
}

/** Of the same pod: each resource has a Secret of its own, and most often a port of its own. */
function isOtherResource(holder: SecretHolder, subject: SecretHolder): boolean {
  return holder.pod === subject.pod && holder.resource !== subject.resource;
}

function otherResourcesCredential(holder: SecretHolder, { resource }: SecretHolder): Verdict {
  const message =
    `serves this pod's credential of DelegatedCredential ${holder.resource} on the port that was probed for ${resource}: name the ` +
    `port for ${resource} in the annotation ${portAnnotation(resource)} of the pod template, or correct which files the server loads`;
  return { state: 'other', message };
}

function otherPodsCredential({ pod, resource }: SecretHolder, since: number): Verdict {
  const message =
    `serves the credential of pod ${pod} (DelegatedCredential ${resource}): two pods must never share a key; ` +
    "mount each pod's own Secret";
  return { state: 'other', message, since };
}

function invalid(problem: string, { issuedAt }: CredentialFacts): Verdict {
  return {
    state: 'invalid',
    message: `clients refuse the credential: ${problem}; the Secret holds one of ${formatRfc3339(issuedAt)}: reload the server`,
    since: issuedAt,
  };
}

function updating({ issuedAt }: CredentialFacts): Verdict {
  return {
    state: 'updating',
    message: `the Secret was issued at ${formatRfc3339(issuedAt)}; the server has yet to load it`,
    since: issuedAt,
  };
}

/** An older dcred wrote no hash: its Secrets are known by their expiry, to the second. */
function isSecrets(served: NonNullable<Served['credential']>, facts: CredentialFacts): boolean {
  if (facts.credentialSha256 !== undefined) return served.sha256 === facts.credentialSha256;
  return served.expiresAt === facts.expiresAt;
}

function otherCredential(
  credential: NonNullable<Served['credential']>,
  facts: CredentialFacts,
  isRecent: boolean,
): Verdict {
  const since = facts.issuedAt;
  const expiry = formatRfc3339(credential.expiresAt);
  if (isRecent) return updating(facts);
  if (credential.expiresAt < facts.expiresAt) {
    const message =
      `serves an earlier credential, which expires at ${expiry}; the Secret holds the current one since ` +
      `${formatRfc3339(since)}: reload the server (annotation ${RELOAD_ANNOTATION}), and check that the Secret is not mounted by subPath`;
    return { state: 'stale', message, since };
  }
  const message = `serves a credential that the Secret does not hold, and that expires at ${expiry}: check which file the server loads`;
  return { state: 'other', message, since };
}

function short(sha256: string): string {
  return `${sha256.slice(0, 12)}...`;
}
