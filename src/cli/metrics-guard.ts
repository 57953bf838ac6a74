/**
 * Who may scrape: a bearer token that the API server authenticates (TokenReview) and whose user may get `/metrics`
 * (SubjectAccessReview). The token must be made for the audience `dcred-metrics`, so that whoever intercepts it on its way, which is
 * plain HTTP, can do nothing else with it.
 */
import { createHash } from 'node:crypto';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import { reviewToken } from '../kubernetes/client/token-review.ts';
import { type Clock, systemClock } from '../kubernetes/clock.ts';
import type { ResourceType } from '../kubernetes/resource-type.ts';
import type { CommandArguments, OptionSpec } from './command.ts';

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
export type Verdict = 200 | 401 | 403 | 503;

interface SubjectAccessReview {
  readonly status?: { readonly allowed?: boolean };
}

/** Kubernetes' own tokens have about 1 kB. */
const MAX_TOKEN_LENGTH = 16_384;
/** As long as the API server itself remembers such an answer by default, roughly. */
const REMEMBERED_MS = 60_000;
const MAX_REMEMBERED = 64;
/** Strangers can make the operator ask the API server: not more than so many at a time. */
const MAX_REVIEWS = 4;
const REVIEW_TIMEOUT_MS = 5_000;

/** Who may scrape, by METRICS_AUTH_OPTION; undefined: everybody. */
export function scrapeAuthorizer(
  args: CommandArguments,
  client: Pick<ApiClient, 'create'>,
  signal: AbortSignal,
): ((authorization: string | undefined) => Promise<Verdict>) | undefined {
  if (!args.boolean('metrics-auth')) return undefined;
  const guard = new MetricsGuard(client, systemClock);
  return (authorization) => guard.check(authorization, signal);
}

export class MetricsGuard {
  readonly #client: Pick<ApiClient, 'create'>;
  readonly #clock: Pick<Clock, 'monotonic'>;
  readonly #remembered = new Map<string, { readonly verdict: Verdict; readonly until: number }>();
  #reviews = 0;

  constructor(client: Pick<ApiClient, 'create'>, clock: Pick<Clock, 'monotonic'>) {
    this.#client = client;
    this.#clock = clock;
  }

  /** Never rejects: 503 while the API server does not answer. */
  async check(authorization: string | undefined, signal: AbortSignal): Promise<Verdict> {
    const token = /^Bearer ([\w.~+/=-]+)$/i.exec((authorization ?? '').slice(0, MAX_TOKEN_LENGTH + 8))?.[1];
    if (token === undefined || token.length > MAX_TOKEN_LENGTH) return 401;
    const key = createHash('sha256').update(token).digest('base64');
    const known = this.#remembered.get(key);
    if (known !== undefined && known.until > this.#clock.monotonic()) return known.verdict;
    if (this.#reviews >= MAX_REVIEWS) return 503;
    this.#reviews += 1;
    try {
      const verdict = await this.#review(token, AbortSignal.any([signal, AbortSignal.timeout(REVIEW_TIMEOUT_MS)]));
      this.#remember(key, verdict);
      return verdict;
    } catch {
      return 503;
    } finally {
      this.#reviews -= 1;
    }
  }

  async #review(token: string, signal: AbortSignal): Promise<Verdict> {
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

  #remember(key: string, verdict: Verdict): void {
    const [oldest] = this.#remembered.keys();
    if (this.#remembered.size >= MAX_REMEMBERED && oldest !== undefined) this.#remembered.delete(oldest);
    this.#remembered.delete(key);
    this.#remembered.set(key, { verdict, until: this.#clock.monotonic() + REMEMBERED_MS });
  }
}
