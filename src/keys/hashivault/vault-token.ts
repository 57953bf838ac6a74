/**
 * The token that calls to Vault carry: got by a login, kept alive at half of its life, got again where Vault refuses it, and revoked at the
 * end where it was logged in for: each is a lease that Vault keeps for hours otherwise, also for a key that could not be opened.
 *
 *   none --(login)--> held --(half of its life: login, or renew-self)--> held --(refused)--> none
 */
import * as z from 'zod/mini';
import type { Clock, TimerHandle } from '../../kubernetes/clock.ts';
import { Deadline, untilAborted } from '../../kubernetes/deadline.ts';
import { KeyError } from '../key-error.ts';
import { readTextFile } from '../read-text-file.ts';
import type { VaultClient } from './vault-client.ts';
import { assertToken, type VaultLogin } from './vault-settings.ts';

const auth = z.object({
  auth: z.object({ client_token: z.string(), lease_duration: z.number(), renewable: z._default(z.boolean(), false) }),
});
const self = z.object({ data: z.object({ ttl: z.number(), renewable: z._default(z.boolean(), false) }) });

/** Also what a renewal that failed waits. */
const SHORTEST_WAIT_MS = 5_000;
const RENEW_MS = 30_000;
/** Who closes a key may be about to end. */
const REVOKE_MS = 2_000;

interface Held {
  readonly token: string;
  /** 0: does not expire. */
  readonly lifeSeconds: number;
  readonly renewable: boolean;
}

export class VaultToken {
  readonly #client: Pick<VaultClient, 'call'>;
  readonly #login: VaultLogin;
  readonly #clock: Clock;
  readonly #closed = new AbortController();
  #held: Promise<Held> | undefined;
  #timer: TimerHandle | undefined;

  constructor(client: Pick<VaultClient, 'call'>, login: VaultLogin, clock: Clock) {
    this.#client = client;
    this.#login = login;
    this.#clock = clock;
  }

  /** Throws KeyError, or the signal's reason. */
  async get(signal: AbortSignal): Promise<string> {
    return (await untilAborted(this.#hold(), signal)).token;
  }

  /**
   * Vault refused a call with this one. Whether another may be had: a fixed token is all there is, and one that Vault still knows was not what it
   * refused. A login for each refused call would fill Vault with tokens, of which each lives for hours.
   */
  async discard(token: string): Promise<boolean> {
    const held = await this.#held?.catch(() => undefined);
    if (held?.token !== token) return true;
    if (this.#login.by === 'token') return false;
    if (this.#login.by === 'kubernetes' && (await this.#isKnown(token))) return false;
    // Others were refused at the same time, and may have found the same.
    if ((await this.#held?.catch(() => undefined))?.token !== token) return true;
    this.#held = undefined;
    this.#timer?.cancel();
    return this.#login.by !== 'token-file' || (await this.#readToken(this.#login.path)) !== token;
  }

  /** Never rejects. */
  async close(): Promise<void> {
    const last = this.#held;
    this.#held = undefined;
    this.#closed.abort(new KeyError('KeyUnavailable', 'the key is closed'));
    this.#timer?.cancel();
    const held = await last?.catch(() => undefined);
    if (held !== undefined) await this.#revoke(held);
  }

  /** Never one that was given: others may use it. Best effort: where Vault does not answer, it ends with its lease. */
  async #revoke({ token }: Held): Promise<void> {
    if (this.#login.by !== 'kubernetes') return;
    using deadline = new Deadline(new AbortController().signal, this.#clock, REVOKE_MS);
    try {
      await this.#call('POST', 'auth/token/revoke-self', token, deadline.signal);
    } catch {
      // Nothing is left to be done about it here.
    }
  }

  /** What fails is forgotten, even while others wait for it. */
  #hold(): Promise<Held> {
    if (this.#held !== undefined) return this.#held;
    const mine = this.#obtain();
    this.#held = mine;
    mine.catch(() => {
      if (this.#held === mine) this.#held = undefined;
    });
    return mine;
  }

  /** One for all callers, and for no caller's signal. */
  async #obtain(): Promise<Held> {
    const held = await this.#logIn();
    this.#schedule(held);
    return held;
  }

  async #logIn(): Promise<Held> {
    const login = this.#login;
    if (login.by !== 'kubernetes') {
      const token = login.by === 'token' ? login.token : await this.#readToken(login.path);
      const { data } = this.#parse(self, await this.#call('GET', 'auth/token/lookup-self', token));
      return { token, lifeSeconds: data.ttl, renewable: data.renewable };
    }
    const jwt = (await readTextFile(login.path, 'the token for Vault')).trim();
    const answer = await this.#client.call({
      method: 'POST',
      path: `auth/${login.mount}/login`,
      body: { role: login.role, jwt },
      token: undefined,
      what: `log in to Vault as the role "${login.role}" by a service account token`,
      signal: this.#closed.signal,
    });
    const { client_token: token, lease_duration: lifeSeconds } = this.#parse(auth, answer).auth;
    return { token: assertToken(token, "Vault's answer"), lifeSeconds, renewable: false };
  }

  /** A login by Kubernetes is repeated, which also follows a changed role; other tokens are renewed, so that they do not expire unused. */
  #schedule({ lifeSeconds, renewable, token }: Held): void {
    const again = this.#login.by !== 'token' || renewable;
    if (lifeSeconds <= 0 || !again || this.#closed.signal.aborted) return;
    this.#timer = this.#clock.setTimeout(
      () => void this.#keepAlive(token, lifeSeconds, renewable),
      Math.max(SHORTEST_WAIT_MS, (lifeSeconds * 1000) / 2),
    );
  }

  async #isKnown(token: string): Promise<boolean> {
    try {
      await this.#call('GET', 'auth/token/lookup-self', token);
      return true;
    } catch (error) {
      if (error instanceof KeyError && error.code === 'KeyDenied') return false;
      throw error;
    }
  }

  async #keepAlive(token: string, lifeSeconds: number, renewable: boolean): Promise<void> {
    const before = this.#held;
    try {
      const held = renewable ? await this.#renew(token) : await this.#logIn();
      // Closed, or refused and got again meanwhile: that one has its own time.
      if (this.#held !== before) {
        await this.#revoke(held);
        return;
      }
      this.#held = Promise.resolve(held);
      this.#schedule(held);
    } catch {
      if (this.#held !== before) return;
      // The one that is held is good for the other half of its life; where Vault refuses it, it is got again in the call.
      this.#schedule({ token, lifeSeconds: Math.min(lifeSeconds / 2, RENEW_MS / 1000), renewable });
    }
  }

  async #renew(token: string): Promise<Held> {
    const { auth: renewed } = this.#parse(auth, await this.#call('POST', 'auth/token/renew-self', token));
    return { token, lifeSeconds: renewed.lease_duration, renewable: renewed.renewable };
  }

  #call(method: 'GET' | 'POST', path: string, token: string, signal = this.#closed.signal): Promise<unknown> {
    const body = method === 'POST' ? { body: {} } : {};
    return this.#client.call({
      method,
      path,
      token,
      ...body,
      what: 'use the Vault token',
      signal,
    });
  }

  #parse<T extends z.ZodMiniType>(schema: T, answer: unknown): z.output<T> {
    const parsed = schema.safeParse(answer);
    if (parsed.success) return parsed.data;
    throw new KeyError('KeyUnavailable', "Vault's answer to the login has no token");
  }

  async #readToken(path: string): Promise<string> {
    return assertToken((await readTextFile(path, 'the token for Vault')).trim(), path);
  }
}
