/** Signs a delegation certificate (RFC 5280, RFC 9345 section 4.2). What it holds is decided here, and not by the request. */
import { type KeyObject, randomBytes, X509Certificate } from 'node:crypto';
import { writePem } from '../credential/pem.ts';
import { derTime, element, explicit, sequence, unsignedInteger } from '../provision/der-write.ts';
import { delegationExtensions, extension, signatureAlgorithm, signed, subjectFor } from '../provision/x509-parts.ts';
import type { Authority } from './authority.ts';
import type { SigningPlan } from './policy.ts';

export interface LeafRequest {
  readonly authority: Authority;
  readonly publicKey: KeyObject;
  readonly dnsNames: readonly string[];
  readonly plan: SigningPlan;
  readonly signal: AbortSignal;
}

/** The leaf, PEM. Throws what the CA's signer throws. */
export async function signLeaf({ authority, dnsNames, plan, publicKey, signal }: LeafRequest): Promise<string> {
  const algorithm = signatureAlgorithm(authority.signer.scheme);
  const extensions = [
    // cA is FALSE by default, and DER leaves a default out.
    extension('2.5.29.19', true, sequence()),
    ...delegationExtensions(dnsNames, plan.usages),
    extension('2.5.29.35', false, sequence(element(0x80, authority.keyIdentifier))),
  ];
  const body = sequence(
    explicit(0, unsignedInteger(Uint8Array.of(2))),
    // Positive and of fixed length (RFC 5280 section 4.1.2.2).
    unsignedInteger(Buffer.concat([Uint8Array.of(0x01), randomBytes(15)])),
    algorithm,
    authority.name,
    sequence(derTime(plan.notBefore), derTime(plan.notAfter)),
    subjectFor(dnsNames),
    publicKey.export({ format: 'der', type: 'spki' }),
    explicit(3, sequence(...extensions)),
  );
  const der = signed(body, algorithm, await authority.signer.sign(body, { signal }));
  // What is handed out was read back, and its signature verified.
  const made = new X509Certificate(der);
  if (made.ca || !made.verify(authority.certificate.publicKey))
    throw new TypeError('the signed certificate does not verify');
  return writePem('CERTIFICATE', der);
}
