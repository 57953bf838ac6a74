/** A CA and a delegation certificate for trying dcred out. The CA's key is never written anywhere. */
import { randomBytes } from 'node:crypto';
import { DELEGATION_USAGE_OID } from '../credential/extensions.ts';
import { issueOneLeaf, type OneLeaf } from '../x509/one-leaf-authority.ts';
import { commonNameOf, DELEGATION_USAGE_VALUE } from './x509-parts.ts';

export interface DevCertificateOptions {
  /** At least one. */
  readonly dnsNames: readonly string[];
  /** Seconds since the epoch. */
  readonly now: number;
  readonly lifetimeSeconds: number;
}

export async function makeDevCertificate(options: DevCertificateOptions): Promise<OneLeaf> {
  const { dnsNames, lifetimeSeconds, now } = options;
  if (dnsNames.length === 0) throw new RangeError('a certificate needs one DNS name at least');
  return await issueOneLeaf({
    authorityName: `dcred dev CA ${randomBytes(4).toString('hex')} - do not trust`,
    commonName: commonNameOf(dnsNames),
    names: dnsNames.map((value) => ({ type: 'dns', value }) as const),
    purposes: ['serverAuth', 'clientAuth'],
    extensions: [{ oid: DELEGATION_USAGE_OID, value: DELEGATION_USAGE_VALUE }],
    now: now * 1000,
    lifetimeMs: lifetimeSeconds * 1000,
  });
}
