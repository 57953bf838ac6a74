/** What `dcred issuer` watches: requests, and the issuers of both kinds. */
import { CLUSTER_ISSUER_KIND, ISSUER_KIND } from '../api/delegation-issuer.ts';
import { API_GROUP } from '../api/keys.ts';
import { CLUSTER_DELEGATION_ISSUERS, DELEGATION_ISSUERS } from '../api/resource-types.ts';
import { type Change, Reflector, type ReflectorOptions } from '../kubernetes/cache/reflector.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
import { CERTIFICATE_REQUESTS, type CertificateRequest, readCertificateRequest } from './certificate-request.ts';
import type { IssuerReference } from './issuers.ts';

export const WATCHED = [CERTIFICATE_REQUESTS, DELEGATION_ISSUERS, CLUSTER_DELEGATION_ISSUERS] as const;

type Engine = Pick<ReflectorOptions<never>, 'client' | 'clock' | 'random' | 'log' | 'observe'>;

interface KnownRequest {
  readonly key: string;
  /** Undefined: for an issuer of another group. */
  readonly request: CertificateRequest | undefined;
}

export interface KnownIssuer {
  readonly key: string;
  readonly raw: KubernetesObject;
  readonly kind: IssuerReference['kind'];
}

export interface IssuerCachesOptions {
  readonly engine: (kind: string) => Engine;
  /** The key of a request that is new or has changed. */
  readonly onRequest: (key: string) => void;
  readonly onIssuer: (change: Change<KnownIssuer>) => void;
}

export class IssuerCaches {
  readonly #requests: Reflector<KnownRequest>;
  readonly #issuers: Reflector<KnownIssuer>;
  readonly #clusterIssuers: Reflector<KnownIssuer>;

  constructor({ engine, onIssuer, onRequest }: IssuerCachesOptions) {
    this.#requests = new Reflector({
      ...engine(CERTIFICATE_REQUESTS.plural),
      type: CERTIFICATE_REQUESTS,
      transform: (raw) => ({ key: keyOf('request', raw), request: readCertificateRequest(raw, API_GROUP) }),
      keyOf: ({ key }) => key,
      onChange: ({ current }) => {
        if (current?.request !== undefined) onRequest(current.key);
      },
    });
    const watchIssuers = (
      type: typeof DELEGATION_ISSUERS | typeof CLUSTER_DELEGATION_ISSUERS,
      kind: KnownIssuer['kind'],
    ) =>
      new Reflector<KnownIssuer>({
        ...engine(type.plural),
        type,
        transform: (raw) => ({ key: keyOf(kind, raw), raw, kind }),
        keyOf: ({ key }) => key,
        onChange: onIssuer,
      });
    this.#issuers = watchIssuers(DELEGATION_ISSUERS, ISSUER_KIND);
    this.#clusterIssuers = watchIssuers(CLUSTER_DELEGATION_ISSUERS, CLUSTER_ISSUER_KIND);
  }

  /** Resolves when all have been listed once. */
  async settled(): Promise<void> {
    await Promise.all([this.#requests.synced, this.#issuers.synced, this.#clusterIssuers.synced]);
  }

  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#requests.run(signal), this.#issuers.run(signal), this.#clusterIssuers.run(signal)]);
  }

  request(key: string): CertificateRequest | undefined {
    return this.#requests.store.get(key)?.request;
  }

  issuer(key: string): KnownIssuer | undefined {
    return this.#issuers.store.get(key) ?? this.#clusterIssuers.store.get(key);
  }

  /** That a request refers to. */
  issuerOf({ issuer, namespace }: CertificateRequest): KnownIssuer | undefined {
    if (issuer.kind === CLUSTER_ISSUER_KIND) return this.issuer(`${CLUSTER_ISSUER_KIND} /${issuer.name}`);
    if (issuer.kind !== ISSUER_KIND) return undefined;
    return this.issuer(`${ISSUER_KIND} ${namespace}/${issuer.name}`);
  }

  /** Requests that refer to it. */
  requestsOf(issuer: KnownIssuer): readonly string[] {
    return [...this.#requests.store.values()].flatMap(({ key, request }) =>
      request !== undefined && this.issuerOf(request)?.key === issuer.key ? [key] : [],
    );
  }

  /** Every request and every issuer. */
  keys(): readonly string[] {
    const requests = [...this.#requests.store.values()].filter(({ request }) => request !== undefined);
    return [...requests, ...this.#issuers.store.values(), ...this.#clusterIssuers.store.values()].map(({ key }) => key);
  }
}

function keyOf(kind: string, { metadata }: KubernetesObject): string {
  return `${kind} ${metadata.namespace ?? ''}/${metadata.name ?? ''}`;
}
