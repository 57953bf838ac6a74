/**
 * What the signer is asked and what it answers: JSON over HTTPS, many requests in one call. A request names what a credential is
 * made of, never the bytes to sign: the signer composes those itself, so nobody can make it sign anything but a credential.
 *
 *     POST /v1/sign              {"requests": [SignRequest, ...]} -> {"results": [SignResult, ...]}, in the same order
 *     GET  /v1/certificates/NAME -> {"name", "sha256", "chainPem"}
 *     POST /v1/certificates      {"known": [KnownCertificate, ...], "waitSeconds": 25} -> {"certificates": [CertificateNews, ...]}
 *     POST /v1/withdrawals       {"uses": [GrantedUse, ...]} -> {"withdrawn": [boolean, ...]}, in the same order
 *
 * The third is how a client follows certificates: it sends which versions it has, and gets those that differ, at once or when
 * one changes. Whatever is lost between two calls is in the next answer. The last one is what it asks before it deletes anything.
 */
import * as z from 'zod/mini';
import type { Usage } from '../credential/scheme.ts';
import { describeSchemaProblems } from '../text/schema-problem.ts';

export const SIGN_PATH = '/v1/sign';
export const CERTIFICATES_PATH = '/v1/certificates/';

export const FOLLOW_PATH = '/v1/certificates';
export const WITHDRAWALS_PATH = '/v1/withdrawals';

/** A wave of 10,000 pods is 20 calls. */
export const MAX_REQUESTS = 500;
/** Certificates in one call. */
export const MAX_FOLLOWED = 500;
/** Uses in one call: each may cost a read of the API server. */
export const MAX_USES = 100;
/** For one usage, of grants of which each is the most generous for some lifetime. */
export const MAX_TERMS = 16;
/** Below the time after which load balancers drop a silent connection. */
export const MAX_WAIT_SECONDS = 25;
/** Of a whole call: a request is about 500 bytes. */
export const MAX_BODY_BYTES = 1024 * 1024;
/** A P-521 SubjectPublicKeyInfo is 158 bytes; ML-DSA-87's will be 2,600. */
const MAX_PUBLIC_KEY_BASE64 = 4096;

/**
 * `NAMESPACE/NAME` of the Secret that a certificate comes from, or a name that the signer's configuration gives it. As long as
 * Kubernetes allows (63, a slash and 253): a tenant chooses what a resource refers to, and a call is refused as a whole.
 */
const certificateName = z
  .string()
  .check(z.regex(/^[a-z0-9][a-z0-9./-]{0,316}$/, 'the name of a certificate, such as shop/web-tls'));
/** Of what is known of a certificate: a hash. The client sends back what it was given. */
const version = z.string().check(z.minLength(1), z.maxLength(64));
const label = z.string().check(z.minLength(1), z.maxLength(253));

const signRequest = z.object({
  certificate: certificateName,
  usage: z.enum(['Server', 'Client']),
  /** SignatureScheme of the credential key. */
  dcCertVerifyAlgorithm: z.number().check(z.int(), z.gte(0), z.lte(0xffff)),
  /** DER, base64. */
  subjectPublicKeyInfo: z
    .string()
    .check(z.minLength(4), z.maxLength(MAX_PUBLIC_KEY_BASE64), z.regex(/^[A-Za-z0-9+/]+={0,2}$/, 'base64')),
  /** Seconds since the epoch. */
  expiresAt: z.number().check(z.int(), z.gte(0)),
  /** For the audit log and the grants. The cluster is the client's own, and never claimed. */
  namespace: label,
  resource: label,
  podUid: label,
});

const signCall = z.object({ requests: z.array(signRequest).check(z.minLength(1), z.maxLength(MAX_REQUESTS)) });

const followCall = z.object({
  known: z
    .array(
      z.object({
        certificate: certificateName,
        namespace: label,
        version: z.optional(version),
      }),
    )
    .check(z.minLength(1), z.maxLength(MAX_FOLLOWED)),
  waitSeconds: z._default(z.number().check(z.int(), z.gte(0), z.lte(MAX_WAIT_SECONDS)), 0),
});

const withdrawalsCall = z.object({
  uses: z
    .array(
      z.object({
        certificate: certificateName,
        usage: z.enum(['Server', 'Client']),
        namespace: label,
        leafSha256: z.string().check(z.regex(/^[0-9a-f]{64}$/, '64 lower-case hex digits')),
      }),
    )
    .check(z.minLength(1), z.maxLength(MAX_USES)),
});

export interface SignRequest {
  readonly certificate: string;
  readonly usage: Usage;
  readonly dcCertVerifyAlgorithm: number;
  readonly subjectPublicKeyInfo: Uint8Array;
  readonly expiresAt: number;
  readonly namespace: string;
  readonly resource: string;
  readonly podUid: string;
}

/** Why the signer refuses one request; the others of the call are answered all the same. */
export type RefusalReason =
  /** No such certificate, or no grant for it: one reason and one text, so that nobody learns which certificates there are. */
  | 'NotPermitted'
  /** The certificate is expired, not yet valid, or cannot be read. */
  | 'CertificateInvalid'
  /** The public key is not one that `dcCertVerifyAlgorithm` names, or of a kind that credentials may not have. */
  | 'PublicKeyUnsupported'
  /** Expired already, beyond what the grant or RFC 9345 allows, or beyond the certificate. */
  | 'LifetimeNotAllowed'
  /** The backend did not sign in time. */
  | 'SigningFailed';

export type SignResult =
  | {
      readonly ok: true;
      /** Of the certificate that the credential stands on: the caller may have an older one. */
      readonly certificateSha256: string;
      /** struct DelegatedCredential, base64. */
      readonly credential: string;
    }
  | { readonly ok: false; readonly reason: RefusalReason; readonly message: string };

export interface CertificateAnswer {
  readonly name: string;
  readonly sha256: string;
  readonly chainPem: string;
}

/** A certificate, as pods of one namespace may use it, and which version of that the client has. */
export interface KnownCertificate {
  readonly certificate: string;
  /** Of the pods. */
  readonly namespace: string;
  /** As it came with the last news; undefined: none yet. */
  readonly version?: string | undefined;
}

export interface FollowCall {
  readonly known: readonly KnownCertificate[];
  /** How long to wait for news where there is none; 0: not at all. */
  readonly waitSeconds: number;
}

/** What is granted, and the public certificate; without `granted`: nothing is, or there is no such certificate. */
export interface CertificateNews extends KnownCertificate {
  readonly version: string;
  readonly granted?: { readonly chainPem: string; readonly usages: readonly GrantedUsage[] } | undefined;
}

/** What credentials were issued for by a grant that may have been withdrawn since. */
export interface GrantedUse {
  readonly certificate: string;
  readonly usage: Usage;
  /** Of the pods. */
  readonly namespace: string;
  /** Of the leaf that they stand on, which only those know who had it: nobody else learns what there is. */
  readonly leafSha256: string;
}

/** The terms of one grant; several with the same usage where several grants cover it. */
export interface GrantedUsage {
  readonly usage: Usage;
  /** The longest life that is allowed. */
  readonly maxLifetimeSeconds: number;
  /** Of one DelegatedCredential; undefined: any number. */
  readonly maxPods?: number | undefined;
  /** What becomes of issued Secrets when the grant no longer covers them. */
  readonly onWithdraw: 'Keep' | 'Delete';
}

/** The call is not one: answered with 400. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly code = 'SignerProtocol';
}

/** Reads the body of a call, which is at most MAX_BODY_BYTES long. Throws ProtocolError, which quotes nothing of it. */
export function parseSignCall(body: string): readonly SignRequest[] {
  const parsed = signCall.safeParse(parseJson(body));
  if (!parsed.success) {
    throw new ProtocolError(
      `expected {"requests": [...]} with 1 to ${MAX_REQUESTS} requests; ${problemOf(signCall, parsed.error)}`,
    );
  }
  return parsed.data.requests.map(({ subjectPublicKeyInfo, ...rest }) => ({
    ...rest,
    subjectPublicKeyInfo: Buffer.from(subjectPublicKeyInfo, 'base64'),
  }));
}

/** As `parseSignCall`. */
export function parseFollowCall(body: string): FollowCall {
  const parsed = followCall.safeParse(parseJson(body));
  if (parsed.success) {
    const { known } = parsed.data;
    const pairs = new Set(known.map(({ certificate, namespace }) => `${certificate} ${namespace}`));
    // Each costs an answer of its own: one call could ask for the same chain 500 times.
    if (pairs.size === known.length) return parsed.data;
    throw new ProtocolError('expected each certificate at most once for each namespace in "known", found one twice');
  }
  throw new ProtocolError(
    `expected {"known": [...], "waitSeconds": 0 to ${MAX_WAIT_SECONDS}} with 1 to ${MAX_FOLLOWED} certificates; ` +
      problemOf(followCall, parsed.error),
  );
}

/** As `parseSignCall`. */
export function parseWithdrawalsCall(body: string): readonly GrantedUse[] {
  const parsed = withdrawalsCall.safeParse(parseJson(body));
  if (parsed.success) return parsed.data.uses;
  throw new ProtocolError(
    `expected {"uses": [...]} with 1 to ${MAX_USES} uses; ${problemOf(withdrawalsCall, parsed.error)}`,
  );
}

/** Of the first field, and with nothing of what the call says. */
function problemOf(schema: z.ZodMiniType, { issues }: z.core.$ZodError): string {
  return describeSchemaProblems(issues.slice(0, 1), { schema, value: undefined, root: 'body', quotes: false });
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    throw new ProtocolError('the body is not JSON');
  }
}

/** A call's body. */
export function formatSignCall(requests: readonly SignRequest[]): string {
  return JSON.stringify({
    requests: requests.map(({ subjectPublicKeyInfo, ...rest }) => ({
      ...rest,
      subjectPublicKeyInfo: Buffer.from(subjectPublicKeyInfo).toString('base64'),
    })),
  });
}

const REFUSAL_REASONS = [
  'NotPermitted',
  'CertificateInvalid',
  'PublicKeyUnsupported',
  'LifetimeNotAllowed',
  'SigningFailed',
] as const satisfies readonly RefusalReason[];
const MAX_MESSAGE = 1024;
/** The base64 of the longest structure that TLS can carry. */
const MAX_CREDENTIAL_BASE64 = 90_000;
const MAX_CHAIN = 64 * 1024;

const signResult = z.discriminatedUnion('ok', [
  z.object({
    ok: z.literal(true),
    certificateSha256: label,
    credential: z.string().check(z.maxLength(MAX_CREDENTIAL_BASE64), z.regex(/^[A-Za-z0-9+/]+={0,2}$/, 'base64')),
  }),
  z.object({
    ok: z.literal(false),
    reason: z.enum(REFUSAL_REASONS),
    message: z.string().check(z.maxLength(MAX_MESSAGE)),
  }),
]);
const signAnswer = z.object({ results: z.array(signResult).check(z.maxLength(MAX_REQUESTS)) });

const seconds = z.number().check(z.int(), z.gte(1));
const followAnswer = z.object({
  certificates: z
    .array(
      z.object({
        certificate: certificateName,
        namespace: label,
        version,
        granted: z.optional(
          z.object({
            chainPem: z.string().check(z.maxLength(MAX_CHAIN)),
            usages: z
              .array(
                z.object({
                  usage: z.enum(['Server', 'Client']),
                  maxLifetimeSeconds: seconds,
                  maxPods: z.optional(z.number().check(z.int(), z.gte(1))),
                  onWithdraw: z.enum(['Keep', 'Delete']),
                }),
              )
              .check(z.minLength(1), z.maxLength(2 * MAX_TERMS)),
          }),
        ),
      }),
    )
    .check(z.maxLength(MAX_FOLLOWED)),
});

/** The results of a call with so many requests; undefined for anything else. */
export function readSignAnswer(answer: unknown, count: number): readonly SignResult[] | undefined {
  const results = signAnswer.safeParse(answer).data?.results;
  return results?.length === count ? results : undefined;
}

const withdrawalsAnswer = z.object({ withdrawn: z.array(z.boolean()).check(z.maxLength(MAX_USES)) });

/** Whether each of so many uses is withdrawn; undefined for anything else. */
export function readWithdrawalsAnswer(answer: unknown, count: number): readonly boolean[] | undefined {
  const withdrawn = withdrawalsAnswer.safeParse(answer).data?.withdrawn;
  return withdrawn?.length === count ? withdrawn : undefined;
}

/** What a client is sent of the certificates that it follows; undefined for anything else. */
export function readFollowAnswer(answer: unknown): readonly CertificateNews[] | undefined {
  return followAnswer.safeParse(answer).data?.certificates;
}
