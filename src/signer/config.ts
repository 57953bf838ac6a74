/** The signer's configuration file: who may ask, which certificates there are, and what is granted. */
import * as z from 'zod/mini';
import { MAX_LIFETIME_SECONDS, MIN_LIFETIME_SECONDS } from '../credential/lifetime.ts';
import type { Usage } from '../credential/scheme.ts';
import { type KeyUri, parseKeyUri } from '../keys/key-uri.ts';
import { KeyUriError } from '../keys/percent-decode.ts';
import { printable } from '../text/printable.ts';
import { describeSchemaProblems } from '../text/schema-problem.ts';
import type { CertificateLocation } from './certificate-source.ts';
import type { SignerGrant } from './policy.ts';

export interface SignerConfig {
  readonly clients: readonly ClientConfig[];
  readonly issuers: readonly IssuerConfig[];
  readonly certificates: readonly CertificateLocation[];
  readonly grants: readonly SignerGrant[];
  /** DelegationGrants in the certificates' namespaces count too. */
  readonly delegationGrants: boolean;
  /** The signer's own cluster, as its clients have it; undefined: they are all of other clusters. */
  readonly cluster: string | undefined;
  /** The signer's own cap on the life of a credential. */
  readonly maxLifetimeSeconds: number;
  /** Signatures a second for each client, after a burst of twice as many, and of 1,000 at least. */
  readonly ratePerSecond: number;
}

/** Recognised by a client certificate, or by a service account's token: one of the two. */
export interface ClientConfig {
  readonly name: string;
  readonly cluster: string;
  /** A DNS name in the client certificate's subjectAltName. */
  readonly tlsName: string | undefined;
  /** `NAMESPACE/NAME`. */
  readonly serviceAccount: string | undefined;
  /** Of the token; undefined: the signer's own cluster, by TokenReview. */
  readonly issuer: string | undefined;
}

interface IssuerConfig {
  readonly url: string;
  /** The keys that the issuer publishes, as JWKS. */
  readonly jwksFile: string;
}

export class SignerConfigError extends Error {
  override readonly name = 'SignerConfigError';
  readonly code = 'SignerConfig';
}

const NAME_RULE = 'lower-case letters, digits, ".", "-" and "/", beginning with a letter or digit';
const name = z.string().check(z.regex(/^[a-z0-9][a-z0-9./-]{0,252}$/, `a name of at most 253 ${NAME_RULE}`));
/** `NAMESPACE/NAME`, as long as Kubernetes allows. */
const certificateName = z.string().check(z.regex(/^[a-z0-9][a-z0-9./-]{0,316}$/, `a name of at most 317 ${NAME_RULE}`));
const text = z.string().check(z.minLength(1), z.maxLength(1024));

/** OpenSSL takes a dot in front for any name below it, and throws for a name with NUL: then nobody at all is a client. */
const tlsName = z
  .string()
  .check(
    z.regex(
      /^(?=.{1,253}$)[a-z0-9_*-]{1,63}(?:\.[a-z0-9_-]{1,63}){0,126}$/i,
      'a DNS name, such as operator.eu.example',
    ),
  );

const serviceAccount = z
  .string()
  .check(
    z.regex(/^[a-z0-9.-]{1,63}\/[a-z0-9.-]{1,253}$/, 'NAMESPACE/NAME of a service account, such as dcred-system/dcred'),
  );

const keyUri = z.string().check(z.minLength(1), z.maxLength(4096));

const schema = z.strictObject({
  clients: z
    .array(
      z.strictObject({
        name,
        cluster: name,
        tlsName: z.optional(tlsName),
        serviceAccount: z.optional(serviceAccount),
        issuer: z.optional(text),
      }),
    )
    .check(z.minLength(1)),
  issuers: z._default(z.array(z.strictObject({ url: text, jwksFile: text })), []),
  certificates: z
    .array(z.strictObject({ name: certificateName, directory: z.optional(text), key: z.optional(keyUri) }))
    .check(z.minLength(1)),
  delegationGrants: z._default(z.boolean(), false),
  cluster: z.optional(name),
  grants: z._default(
    z.array(
      z.strictObject({
        certificate: certificateName,
        from: z.array(z.strictObject({ cluster: z.optional(name), namespace: z.optional(name) })).check(z.minLength(1)),
        usages: z._default(z.array(z.enum(['Server', 'Client'])).check(z.minLength(1)), ['Server']),
        maxLifetimeSeconds: z.optional(z.int().check(z.gte(MIN_LIFETIME_SECONDS), z.lte(MAX_LIFETIME_SECONDS))),
        maxPods: z.optional(z.int().check(z.gte(1))),
        onWithdraw: z._default(z.enum(['Keep', 'Delete']), 'Keep'),
      }),
    ),
    [],
  ),
  maxLifetimeSeconds: z._default(
    z.int().check(z.gte(MIN_LIFETIME_SECONDS), z.lte(MAX_LIFETIME_SECONDS)),
    MAX_LIFETIME_SECONDS,
  ),
  ratePerSecond: z._default(z.int().check(z.gte(1), z.lte(1_000_000)), 2_000),
});

/** Reads what a YAML or JSON parser made of the file. Throws SignerConfigError, which names the field. */
export function parseSignerConfig(value: unknown): SignerConfig {
  const parsed = schema.safeParse(value);
  if (!parsed.success) {
    throw new SignerConfigError(describeSchemaProblems(parsed.error.issues, { schema, value }));
  }
  const { certificates, clients, cluster, delegationGrants, grants, issuers, maxLifetimeSeconds, ratePerSecond } =
    parsed.data;
  const config: SignerConfig = {
    clients: clients.map(({ issuer, serviceAccount, tlsName, ...rest }) => ({
      ...rest,
      tlsName,
      serviceAccount,
      issuer,
    })),
    issuers,
    certificates: certificates.map(({ directory, key, name: certificate }) => ({
      name: certificate,
      directory,
      key: readKey(certificate, key),
    })),
    delegationGrants,
    cluster,
    grants: grants.map(({ certificate, from, maxLifetimeSeconds: longest, maxPods, onWithdraw, usages }) => ({
      certificate,
      from: from.map(({ cluster, namespace }) => ({
        ...(cluster === undefined ? {} : { cluster }),
        ...(namespace === undefined ? {} : { namespace }),
      })),
      usages: usages as readonly Usage[],
      maxLifetimeSeconds: longest,
      maxPods,
      onWithdraw,
    })),
    maxLifetimeSeconds,
    ratePerSecond,
  };
  checkReferences(config);
  return config;
}

function readKey(certificate: string, text: string | undefined): KeyUri | undefined {
  if (text === undefined) return undefined;
  try {
    return parseKeyUri(text);
  } catch (error) {
    if (!(error instanceof KeyUriError)) throw error;
    throw new SignerConfigError(`certificates: the key of "${certificate}": ${error.message}`, { cause: error });
  }
}

/** What a schema cannot say: names that must be there, and names that may be there once. */
function checkReferences({ certificates, clients, delegationGrants, grants, issuers }: SignerConfig): void {
  const nameless = certificates.find(
    ({ directory, name: certificate }) =>
      (directory === undefined || delegationGrants) && splitCertificateName(certificate) === undefined,
  );
  if (nameless !== undefined) {
    throw new SignerConfigError(
      `certificates: "${nameless.name}" must be NAMESPACE/NAME, as it is read from the API server or granted by a DelegationGrant`,
    );
  }
  assertUnique(
    'clients',
    clients.map((client) => client.name),
  );
  assertUnique(
    'certificates',
    certificates.map((certificate) => certificate.name),
  );
  assertUnique(
    'clients.tlsName',
    // Whatever its case, as it is compared.
    clients.flatMap(({ tlsName }) => tlsName?.toLowerCase() ?? []),
  );
  assertUnique(
    'clients.serviceAccount',
    clients.flatMap(({ issuer = '', serviceAccount }) => (serviceAccount ? `${issuer} ${serviceAccount}`.trim() : [])),
  );
  for (const client of clients) {
    if ((client.tlsName === undefined) === (client.serviceAccount === undefined)) {
      throw new SignerConfigError(`clients: "${client.name}" needs tlsName or serviceAccount, and one of them only`);
    }
    if (client.issuer !== undefined && !issuers.some(({ url }) => url === client.issuer)) {
      throw new SignerConfigError(
        `clients: the issuer of "${client.name}" is not among the issuers: add its url and jwksFile`,
      );
    }
  }
  const unknown = grants.find(({ certificate }) => !certificates.some((one) => one.name === certificate));
  if (unknown !== undefined) {
    throw new SignerConfigError(
      `grants: there is no certificate "${unknown.certificate}": add it, or correct the name`,
    );
  }
}

/** `NAMESPACE/NAME`; undefined for any other name. */
export function splitCertificateName(
  certificate: string,
): { readonly namespace: string; readonly name: string } | undefined {
  const [namespace, secret, ...rest] = certificate.split('/');
  return namespace && secret && rest.length === 0 ? { namespace, name: secret } : undefined;
}

function assertUnique(field: string, values: readonly string[]): void {
  const twice = values.find((value, position) => values.indexOf(value) !== position);
  if (twice !== undefined)
    throw new SignerConfigError(`${field}: "${printable(twice)}" occurs twice: keep one of them`);
}
