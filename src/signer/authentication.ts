/**
 * Who calls: by the certificate of the TLS connection, or by a service account's token. A token is asked about at the signer's own
 * API server (TokenReview), or verified by the keys that another cluster's issuer publishes; its audience is the signer alone, so
 * that a token for anything else is worth nothing here.
 */
import type { X509Certificate } from 'node:crypto';
import { createLocalJWKSet, decodeJwt, type JSONWebKeySet, jwtVerify } from 'jose';
import type { Clock } from '../kubernetes/clock.ts';
import { bearerToken } from '../serving/bearer-token.ts';
import { TokenReviews } from '../serving/token-reviews.ts';
import type { ClientConfig } from './config.ts';

const TOKEN_AUDIENCE = 'dcred-signer';

/** What is known of a connection before a byte of the request is believed. */
export interface Credentials {
  /** A client certificate that the client CA signed; undefined: none was shown. */
  readonly certificate: Pick<X509Certificate, 'checkHost'> | undefined;
  /** The Authorization header. */
  readonly authorization: string | undefined;
  /** That the connection comes from. */
  readonly address: string;
}

/** `system:serviceaccount:NAMESPACE:NAME` for a token of the signer's own cluster, for the audience; undefined: not valid. Bounded in time. */
export type ReviewToken = (token: string, audience: string) => Promise<string | undefined>;

export interface AuthenticatorOptions {
  readonly clients: readonly ClientConfig[];
  /** By the issuer's URL. */
  readonly keySets: ReadonlyMap<string, JSONWebKeySet>;
  /** Undefined: no tokens of the own cluster. */
  readonly reviewToken: ReviewToken | undefined;
  readonly clock: Clock;
}

/**
 * A dNSName of the subjectAltName, compared by OpenSSL in its DER. The text that Node makes of that extension would be a list only as long as
 * each ", DNS:" within a name is escaped.
 */
const EXACTLY = { subject: 'never', wildcards: false, partialWildcards: false } as const;
/** A token that was withdrawn is believed no longer than this. */
const ACCEPTED_MS = 30_000;
/**
 * Clocks differ: a token that was made this moment must not be refused for it. API servers allow a minute, for the beginning and the end of
 * a token. At the end, half of that is no more than a token of the signer's own cluster has, by ACCEPTED_MS.
 */
const LEEWAY_SECONDS = 30;

export class Authenticator {
  readonly #options: AuthenticatorOptions;
  /** By the issuer's URL. */
  readonly #keySets: Map<string, JSONWebKeySet>;
  readonly #reviews: TokenReviews<string | undefined> | undefined;

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
    this.#keySets = new Map(options.keySets);
    const { clock, reviewToken } = options;
    if (reviewToken === undefined) return;
    this.#reviews = new TokenReviews({
      review: (token) => reviewToken(token, TOKEN_AUDIENCE),
      // A token of another account is as little worth as one that is not valid.
      isAccepted: (user) => this.#clientOf(user, undefined) !== undefined,
      acceptedMs: ACCEPTED_MS,
      clock,
    });
  }

  /** For every token from now on. */
  useKeySet(issuer: string, keySet: JSONWebKeySet): void {
    this.#keySets.set(issuer, keySet);
  }

  /** The client that these credentials are of, or undefined. Throws TooManyReviewsError, and what `reviewToken` throws. */
  async authenticate(
    { address, authorization, certificate }: Credentials,
    signal: AbortSignal,
  ): Promise<ClientConfig | undefined> {
    const { clients } = this.#options;
    const byCertificate = clients.find(
      ({ tlsName }) => tlsName !== undefined && certificate?.checkHost(tlsName, EXACTLY) !== undefined,
    );
    if (byCertificate !== undefined) return byCertificate;
    const token = bearerToken(authorization);
    if (token === undefined) return undefined;
    const issuer = issuerOf(token);
    const keySet = issuer === undefined ? undefined : this.#keySets.get(issuer);
    if (issuer !== undefined && keySet !== undefined) {
      const client = this.#clientOf(await verifiedSubject(token, issuer, keySet, this.#options.clock.now()), issuer);
      // Clusters that were set up alike have issuers of one name: it may be a token of the signer's own.
      if (client !== undefined) return client;
    }
    return this.#clientOf(await this.#reviews?.ask(token, address, signal), undefined);
  }

  #clientOf(user: string | undefined, issuer: string | undefined): ClientConfig | undefined {
    const [, , namespace, name, ...rest] = user?.split(':') ?? [];
    if (user?.startsWith('system:serviceaccount:') !== true || rest.length > 0) return undefined;
    const account = `${namespace}/${name}`;
    return this.#options.clients.find((client) => client.serviceAccount === account && client.issuer === issuer);
  }
}

/** What the token says of itself: it only picks the keys that it is then held against. */
function issuerOf(token: string): string | undefined {
  try {
    return decodeJwt(token).iss;
  } catch {
    return undefined;
  }
}

async function verifiedSubject(
  token: string,
  issuer: string,
  keySet: JSONWebKeySet,
  nowMs: number,
): Promise<string | undefined> {
  try {
    const { payload } = await jwtVerify(token, createLocalJWKSet(keySet), {
      issuer,
      audience: TOKEN_AUDIENCE,
      // What Kubernetes' API servers sign by; never a symmetric algorithm, whose key would be the published one.
      algorithms: ['RS256', 'RS384', 'RS512', 'ES256', 'ES384', 'ES512'],
      requiredClaims: ['exp', 'sub'],
      currentDate: new Date(nowMs),
      clockTolerance: LEEWAY_SECONDS,
    });
    // Claims are what the issuer wrote, of any type.
    return typeof payload.sub === 'string' ? payload.sub : undefined;
  } catch {
    return undefined;
  }
}
