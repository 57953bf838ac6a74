/**
 * Where an operator gets certificates from: from a signer where there is one, which decides on grants itself; else from Secrets, as
 * far as the grants of the cluster permit.
 */
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import type { Clock } from '../kubernetes/clock.ts';
import type { Logger } from '../kubernetes/log.ts';
import type { WorkQueue } from '../kubernetes/queue/work-queue.ts';
import type { SignerClient } from '../signer-client/signer-client.ts';
import type { Tracing } from '../tracing/tracing.ts';
import { CertificateWatcher } from './certificates/certificate-watcher.ts';
import type { GrantProof } from './certificates/certificates.ts';
import { linkSigner, type SignerClientMetrics, type SignerLink } from './certificates/signer-link.ts';
import { PENDING } from './core/certificate-state.ts';
import { ForeignUsers, type ForeignUsersOptions } from './grants/foreign-users.ts';
import { GrantCheck } from './grants/grant-check.ts';
import { GrantController } from './grants/grant-controller.ts';
import { GrantedCertificates } from './grants/granted-certificates.ts';
import { type GrantScope, Grants } from './grants/grants.ts';
import type { WatchEngine } from './secret-watch.ts';

export interface CertificateLinkOptions
  extends Partial<Omit<GrantScope, 'namespaces'>>,
    Pick<ForeignUsersOptions, 'resources' | 'serves'> {
  /** For the status of grants, and to see that they hold. */
  readonly client: Pick<ApiClient, 'apply' | 'get' | 'list'>;
  readonly engine: (kind: string) => WatchEngine;
  /** The namespaces that are served; empty: all of them. */
  readonly namespaces: readonly string[];
  readonly signer?:
    | { readonly client: SignerClient; readonly metrics: Pick<SignerClientMetrics, 'available'> }
    | undefined;
  readonly tracing?: Tracing | undefined;
  readonly grantQueue: WorkQueue;
  /** The certificate of a resource, or what it may do with it, may have changed. */
  readonly onCertificate: (resourceKey: string) => void;
  /** The signer does not answer, or answers again. */
  readonly onSignerProblem: () => void;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export interface CertificateLink extends SignerLink {
  readonly proof: GrantProof;
  /** Keeps the status of grants. */
  readonly grants: GrantController;
  /** Undefined where a signer does that. */
  readonly foreignUsers: ForeignUsers | undefined;
}

export function linkCertificates(options: CertificateLinkOptions): CertificateLink {
  const { client, clock, grantQueue: queue, log, onCertificate, random, signal, signer, tracing } = options;
  const shared = { client, queue, clock, log };
  if (signer === undefined) return linkSecrets(options);
  const onProblem = (problem: string | undefined) => {
    signer.metrics.available(problem === undefined);
    options.onSignerProblem();
  };
  const link = linkSigner({ client: signer.client, clock, random, log, onCertificate, onProblem, tracing, signal });
  return {
    ...link,
    proof: link.certificates,
    foreignUsers: undefined,
    grants: new GrantController({ ...shared, grantOf: () => undefined, certificateOf: () => PENDING }),
  };
}

function linkSecrets(options: CertificateLinkOptions): CertificateLink {
  const { client, clock, engine, grantQueue: queue, log, namespaces, signal } = options;
  const { certificateNamespaces = [], requireGrant = false } = options;
  const onChange = (resourceKey: string) => {
    options.onCertificate(resourceKey);
    foreignUsers.changed(resourceKey);
  };
  const watcher = new CertificateWatcher({ engine: engine('certificates'), namespaces, log, onChange, signal });
  const granted = new Grants({
    engine,
    namespaces,
    certificateNamespaces,
    requireGrant,
    log,
    onChange,
    onGrant: (key) => grants.changed(key),
    signal,
  });
  const grants = new GrantController({
    client,
    queue,
    clock,
    log,
    grantOf: (key) => granted.get(key),
    certificateOf: (secret) => watcher.state(secret),
  });
  const certificates = new GrantedCertificates(watcher, granted);
  const foreignUsers = new ForeignUsers({ ...options, certificates, grants });
  return {
    certificates,
    foreignUsers,
    proof: new GrantCheck(client, requireGrant),
    grants,
    problem: () => undefined,
  };
}
