import { randomUUID, sign } from 'node:crypto';

export interface ServiceAccount {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

export const ISSUER = 'https://kubernetes.default.svc';

/**
 * A token of a service account, as the TokenRequest API makes them, with any lifetime: the API itself refuses less than ten
 * minutes. Times are in seconds since the epoch. The API server caches a good token for 10 s, so an expired one is refused
 * up to 10 s late.
 */
export function signToken(
  account: ServiceAccount,
  options: { readonly signingKey: string; readonly now: number; readonly lifetimeSeconds: number },
): string {
  const { lifetimeSeconds, now, signingKey } = options;
  const { name, namespace, uid } = account;
  const claims = {
    iss: ISSUER,
    aud: [ISSUER],
    sub: `system:serviceaccount:${namespace}:${name}`,
    // A token that has already expired must have been valid once.
    iat: Math.min(now, now + lifetimeSeconds - 1),
    nbf: Math.min(now, now + lifetimeSeconds - 1),
    exp: now + lifetimeSeconds,
    jti: randomUUID(),
    'kubernetes.io': { namespace, serviceaccount: { name, uid } },
  };
  const signed = [{ alg: 'ES256', typ: 'JWT' }, claims].map(encode).join('.');
  const signature = sign('sha256', Buffer.from(signed), { key: signingKey, dsaEncoding: 'ieee-p1363' });
  return `${signed}.${signature.toString('base64url')}`;
}

function encode(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}
