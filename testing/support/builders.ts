/** Small builders of what several tests need: each returns something valid, changed by its arguments. */
import type { z } from 'zod';
import {
  type DelegatedCredentialResource,
  type DelegatedCredentialSpec,
  specSchema,
} from '../../src/api/delegated-credential.ts';
import { type DelegationGrantResource, grantSpecSchema } from '../../src/api/delegation-grant.ts';
import { readInjectRequest } from '../../src/api/injection.ts';
import { type DelegationCertificate, readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { type Signer, signerFromPem } from '../../src/credential/signer.ts';
import type { CredentialFacts, IssuedSecret } from '../../src/issued-secret/issued-secret.ts';
import type { Pod } from '../../src/operator/core/pod.ts';
import { renewalTime } from '../../src/operator/core/schedule.ts';
import { leaf } from './openssl.ts';

/** 2027-01-15T08:00:00Z, in seconds: the present of tests that need no real certificate. */
export const NOW = 1_800_000_000;
export const LIFETIME = 172_800;
export const SHA256 = 'a1'.repeat(32);
export const CHAIN_SHA256 = 'c4'.repeat(32);
const CREDENTIAL_SHA256 = 'dc'.repeat(32);

export function specOf(overrides: Partial<z.input<typeof specSchema>> = {}): DelegatedCredentialSpec {
  return specSchema.parse({ certificateRef: { name: 'web-tls' }, ...overrides });
}

export function resource({
  name = 'web',
  namespace = 'edge',
  uid = `uid-of-${name}`,
  generation = 1,
  spec = specOf(),
  status = {},
}: Partial<
  DelegatedCredentialResource['metadata'] & Omit<DelegatedCredentialResource, 'metadata'>
> = {}): DelegatedCredentialResource {
  return { metadata: { name, namespace, uid, generation, resourceVersion: '1' }, spec, status };
}

/** A grant of `vault/web-tls` to the namespace `edge`. */
export function grant({
  name = 'edge',
  namespace = 'vault',
  secret = 'web-tls',
  resourceVersion = '1',
  ...spec
}: Partial<Omit<z.input<typeof grantSpecSchema>, 'certificateRef'>> & {
  readonly name?: string;
  readonly namespace?: string;
  readonly secret?: string;
  readonly resourceVersion?: string;
} = {}): DelegationGrantResource {
  return {
    metadata: { name, namespace, uid: `uid-of-${name}`, generation: 1, resourceVersion },
    spec: grantSpecSchema.parse({ certificateRef: { name: secret }, from: [{ namespace: 'edge' }], ...spec }),
    status: {},
  };
}

export function podOf(overrides: Partial<Pod> = {}): Pod {
  const { name = 'web-0', labels = { 'dcred.dev/inject': 'web' } } = overrides;
  return {
    namespace: 'edge',
    name,
    uid: `uid-of-${name}`,
    labels,
    injected: readInjectRequest(labels, {}).names,
    terminating: false,
    secretNames: {},
    gated: [],
    ...overrides,
  };
}

/** A credential with its whole lifetime before it. */
export function facts(overrides: Partial<CredentialFacts> = {}): CredentialFacts {
  const { issuedAt = NOW, expiresAt = issuedAt + LIFETIME } = overrides;
  const renewAt = renewalTime({ issuedAt, expiresAt, podUid: 'uid-of-web-0', lifetimeSeconds: LIFETIME });
  return {
    issuedAt,
    expiresAt,
    renewAt,
    certificateSha256: SHA256,
    chainSha256: CHAIN_SHA256,
    credentialSha256: CREDENTIAL_SHA256,
    usage: 'Server',
    keyAlgorithm: 'ECDSAP256',
    ...overrides,
  };
}

export function issuedSecret(overrides: Partial<IssuedSecret> = {}): IssuedSecret {
  const { name = 'web-web-0', podName = 'web-0' } = overrides;
  return {
    namespace: 'edge',
    name,
    uid: `uid-of-secret-${name}`,
    resourceVersion: '7',
    resourceName: 'web',
    podName,
    podUid: `uid-of-${podName}`,
    facts: facts(),
    intact: true,
    template: { labels: {}, annotations: {} },
    foreign: { labels: {}, annotations: {} },
    ...overrides,
  };
}

export interface Delegation {
  readonly chainPem: string;
  readonly keyPem: string;
  readonly certificate: DelegationCertificate;
  readonly signer: Signer;
}

/** A delegation certificate made by OpenSSL, by default valid from now for 90 days. */
export function delegation(options: Parameters<typeof leaf>[0] = {}): Delegation {
  const { certificatePem, keyPem } = leaf(options);
  return {
    chainPem: certificatePem,
    keyPem,
    certificate: readDelegationCertificate(certificatePem),
    signer: signerFromPem(keyPem),
  };
}
