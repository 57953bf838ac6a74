/** Kubernetes' own tokens have about 1 kB. */
const MAX_TOKEN_LENGTH = 16_384;
/** RFC 6750 section 2.1; the scheme in any case (RFC 9110 section 11.1). */
const BEARER = /^Bearer ([A-Za-z0-9._~+/=-]+)$/i;
const SCHEME_LENGTH = 'Bearer '.length;

/** The token of an Authorization header; undefined: there is none, or it is too long to be read. */
export function bearerToken(authorization: string | undefined): string | undefined {
  if (authorization === undefined || authorization.length > SCHEME_LENGTH + MAX_TOKEN_LENGTH) return undefined;
  return BEARER.exec(authorization)?.[1];
}
