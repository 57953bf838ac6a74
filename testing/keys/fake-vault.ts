/**
 * A fake of the transit engine, tokens and the Kubernetes login, as Vault's and OpenBao's HTTP API documentation describes them: enough for
 * a key that signs. The tests that use it run against Vault itself too, where it was built: see testing/vault.
 */
import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { p256, p384, p521 } from '@noble/curves/nist.js';

const CURVES: Readonly<Record<string, { readonly namedCurve: string; readonly curve: typeof p256 }>> = {
  'ecdsa-p256': { namedCurve: 'P-256', curve: p256 },
  'ecdsa-p384': { namedCurve: 'P-384', curve: p384 },
  'ecdsa-p521': { namedCurve: 'P-521', curve: p521 },
};
const DER = { format: 'der', prehash: false, lowS: false } as const;

interface FakeKey {
  readonly type: string;
  readonly versions: { readonly publicKey: KeyObject; readonly privateKey: KeyObject }[];
}

interface Answer {
  readonly status: number;
  readonly body: object;
}

type Body = Readonly<Record<string, unknown>>;

export class FakeVault implements AsyncDisposable {
  readonly rootToken = `hvs.${randomBytes(16).toString('hex')}`;
  /** How often each call was made, such as `POST auth/token/renew-self`. */
  readonly calls = new Map<string, number>();
  /** Calls that no policy allows, such as `POST transit/sign/NAME`. */
  readonly denied = new Set<string>();
  /** Calls whose answers begin and do not end. */
  readonly endless = new Set<string>();
  /** Answers every call; undefined: nothing is wrong. */
  fault: Answer | undefined;
  /** The result of a login with this service account token. */
  readonly accounts = new Map<string, { readonly role: string; readonly leaseSeconds: number }>();
  readonly #tokens = new Map<string, { readonly ttl: number; readonly renewable: boolean }>();
  readonly #keys = new Map<string, FakeKey>();
  readonly #server = createServer((request, response) => {
    void this.#answer(request).then(
      ({ body, status }) => {
        if (this.endless.has(callOf(request))) return drip(response.writeHead(status));
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
      },
      // The client has given up.
      () => void response.destroy(),
    );
  });

  static async start(): Promise<FakeVault> {
    const fake = new FakeVault();
    fake.#tokens.set(fake.rootToken, { ttl: 0, renewable: false });
    await new Promise<void>((resolve) => fake.#server.listen(0, '127.0.0.1', resolve));
    return fake;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Refuses this token from now on. */
  revoke(token: string): void {
    this.#tokens.delete(token);
  }

  get tokens(): readonly string[] {
    return [...this.#tokens.keys()];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage): Promise<Answer> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const body = JSON.parse(Buffer.concat(chunks).toString() || '{}') as Body;
    const call = callOf(request);
    this.calls.set(call, (this.calls.get(call) ?? 0) + 1);
    if (this.fault !== undefined) return this.fault;
    if (call === 'POST auth/kubernetes/login') return this.#logIn(body);
    const token = String(request.headers['x-vault-token']);
    const held = this.#tokens.get(token);
    if (held === undefined || this.denied.has(call)) return errors(403, 'permission denied');
    if (call === 'GET auth/token/lookup-self') return { status: 200, body: { data: held } };
    if (call === 'POST auth/token/revoke-self') {
      this.revoke(token);
      return { status: 204, body: {} };
    }
    if (call === 'POST auth/token/renew-self') {
      return { status: 200, body: { auth: { client_token: token, lease_duration: held.ttl, renewable: true } } };
    }
    return this.#transit(call, body);
  }

  #logIn({ jwt, role }: Body): Answer {
    const account = this.accounts.get(String(jwt));
    if (account?.role !== role || account === undefined) return errors(403, 'permission denied');
    const token = `hvs.${randomBytes(16).toString('hex')}`;
    this.#tokens.set(token, { ttl: account.leaseSeconds, renewable: true });
    const auth = { client_token: token, lease_duration: account.leaseSeconds, renewable: true };
    return { status: 200, body: { auth } };
  }

  #transit(call: string, body: Body): Answer {
    const [, method, operation, name = '', rest] =
      /^(\w+) transit\/(keys|sign)\/([a-z0-9-]+)(\/rotate)?$/.exec(call) ?? [];
    const key = this.#keys.get(name);
    if (operation === 'keys' && method === 'POST' && rest === undefined) {
      const type = String(body['type']);
      this.#keys.set(name, { type, versions: [generate(type)] });
      return { status: 200, body: {} };
    }
    if (key === undefined) return operation === 'sign' ? errors(400, 'signing key not found') : errors(404);
    if (rest !== undefined) {
      key.versions.push(generate(key.type));
      return { status: 200, body: {} };
    }
    return operation === 'keys' ? describe(key) : signed(key, body);
  }
}

function callOf({ method, url = '' }: IncomingMessage): string {
  return `${method} ${url.replace('/v1/', '')}`;
}

function drip(response: ServerResponse): void {
  const timer = setInterval(() => response.write(' '), 100);
  response.once('close', () => clearInterval(timer));
}

function generate(type: string): FakeKey['versions'][number] {
  const namedCurve = CURVES[type]?.namedCurve;
  return namedCurve === undefined ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve });
}

function describe({ type, versions }: FakeKey): Answer {
  const keys = Object.fromEntries(
    versions.map(({ publicKey }, position) => [
      position + 1,
      {
        // Raw and base64 for Ed25519, PEM for ECDSA.
        public_key:
          CURVES[type] === undefined
            ? publicKey.export({ type: 'spki', format: 'der' }).subarray(-32).toString('base64')
            : publicKey.export({ type: 'spki', format: 'pem' }),
      },
    ]),
  );
  return { status: 200, body: { data: { type, keys, latest_version: versions.length } } };
}

function signed({ type, versions }: FakeKey, body: Body): Answer {
  const version = Number(body['key_version'] ?? versions.length);
  const pair = versions[version - 1];
  const curve = CURVES[type]?.curve;
  if (pair === undefined || curve === undefined) return errors(400, 'invalid request');
  if (body['prehashed'] !== true || body['marshaling_algorithm'] !== 'asn1')
    return errors(400, 'the fake takes hashes, and gives ASN.1');
  const digest = Buffer.from(String(body['input']), 'base64');
  if (`sha2-${digest.length * 8}` !== body['hash_algorithm'])
    return errors(400, 'the input is not a hash of that kind');
  const { d = '' } = pair.privateKey.export({ format: 'jwk' });
  const signature = curve.sign(Uint8Array.from(digest), Uint8Array.from(Buffer.from(d, 'base64url')), DER);
  return {
    status: 200,
    body: { data: { signature: `vault:v${version}:${Buffer.from(signature).toString('base64')}` } },
  };
}

function errors(status: number, ...messages: readonly string[]): Answer {
  return { status, body: { errors: messages } };
}
