/** Of the Lease, unless --leader-elect-resource-name names another. */
export const ISSUER_LEASE_NAME = 'dcred-issuer';

/** Reasons of an issuer's Ready condition where its CA cannot sign. */
export const ISSUER_FAILURES = [
  'SpecInvalid',
  'SecretNotFound',
  'AuthorityInvalid',
  'KeyNotConfigured',
  'KeyUnavailable',
] as const;
export type IssuerFailure = (typeof ISSUER_FAILURES)[number];

/** The API of cert-manager that dcred issuer works with. */
export const CERT_MANAGER_API = 'cert-manager.io/v1';
