/**
 * Who may scrape: a bearer token that the API server authenticates (TokenReview) and whose user may get `/metrics`
 * (SubjectAccessReview). The token must be made for the audience `dcred-metrics`, so that whoever intercepts it on its way, which is
 * plain HTTP, can do nothing else with it.
 */
import type { ApiClient } from '../../kubernetes/client/api-client.ts';
import { reviewToken } from '../../kubernetes/client/token-review.ts';
import { type Clock, systemClock } from '../../kubernetes/clock.ts';
import { Deadline } from '../../kubernetes/deadline.ts';
import type { ResourceType } from '../../kubernetes/resource-type.ts';
import { bearerToken } from '../../serving/bearer-token.ts';
import { TokenReviews } from '../../serving/token-reviews.ts';
import type { CommandArguments, OptionSpec } from '../command.ts';

export const METRICS_AUTH_OPTION = {
  'metrics-auth': {
    type: 'boolean',
    default: false,
    help: 'serve /metrics only to tokens of the audience dcred-metrics whose user may get /metrics',
  },
} as const satisfies Readonly<Record<string, OptionSpec>>;

export const METRICS_AUDIENCE = 'dcred-metrics';

const SUBJECT_ACCESS_REVIEWS = {
  group: 'authorization.k8s.io',
  version: 'v1',
  plural: 'subjectaccessreviews',
  kind: 'SubjectAccessReview',
  namespaced: false,
} as const satisfies ResourceType;

/** An HTTP status: 200, or why not. */
export type GuardStatus = 200 | 401 | 403 | 503;

interface SubjectAccessReview {
  readonly status?: { readonly allowed?: boolean };
}

/** As long as the API server itself remembers such an answer by default, roughly. */
const ACCEPTED_MS = 60_000;
const REVIEW_TIMEOUT_MS = 5_000;

/** Whether the caller at that address, with that Authorization header, may scrape. */
export type Authorize = (authorization: string | undefined, address: string) => Promise<GuardStatus>;

/** Who may scrape, by METRICS_AUTH_OPTION; undefined: everybody. */
export function scrapeAuthorizer(
  args: CommandArguments,
  client: Pick<ApiClient, 'create'>,
  signal: AbortSignal,
): Authorize | undefined {
  if (!args.boolean('metrics-auth')) return undefined;
  const guard = new MetricsGuard(client, systemClock, signal);
  return (authorization, address) => guard.check(authorization, address);
}

export class MetricsGuard {
  readonly #client: Pick<ApiClient, 'create'>;
  readonly #reviews: TokenReviews<GuardStatus>;
  readonly #signal: AbortSignal;

  /** @param signal ends everything */
  constructor(client: Pick<ApiClient, 'create'>, clock: Clock, signal: AbortSignal) {
    this.#client = client;
    this.#signal = signal;
    this.#reviews = new TokenReviews({
      review: async (token) => {
        using deadline = new Deadline(signal, clock, REVIEW_TIMEOUT_MS);
        return await this.#review(token, deadline.signal);
      },
      isAccepted: (verdict) => verdict === 200,
      acceptedMs: ACCEPTED_MS,
      clock,
    });
  }

  /** Never rejects: 503 while the API server does not answer, or where too many strangers make it work. */
  async check(authorization: string | undefined, address: string): Promise<GuardStatus> {
    const token = bearerToken(authorization);
    if (token === undefined) return 401;
    return await this.#reviews.ask(token, address, this.#signal).catch((): GuardStatus => 503);
  }

  async #review(token: string, signal: AbortSignal): Promise<GuardStatus> {
    const user = await reviewToken(this.#client, token, METRICS_AUDIENCE, signal);
    if (user === undefined) return 401;
    const { groups = [], uid, username } = user;
    const access = {
      metadata: {},
      spec: { user: username, uid, groups, nonResourceAttributes: { verb: 'get', path: '/metrics' } },
    };
    const answer = await this.#client.create<SubjectAccessReview>(SUBJECT_ACCESS_REVIEWS, access, { signal });
    return answer.status?.allowed === true ? 200 : 403;
  }
}
