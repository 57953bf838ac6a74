import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import type { Leaf } from '../../testing/support/openssl.ts';

const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/**
 * A delegation certificate for `web.example` that has been valid for `ageSeconds`, signed by `ca`. The OpenSSL command line,
 * which makes all the others, cannot set notBefore.
 */
export async function agedLeaf(ca: Leaf, ageSeconds: number): Promise<Leaf> {
  const keys = await crypto.subtle.generateKey(P256, true, ['sign', 'verify']);
  const signingKey = await crypto.subtle.importKey('pkcs8', x509.PemConverter.decodeFirst(ca.keyPem), P256, false, [
    'sign',
  ]);
  const now = Date.now();
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: '0102030405060708',
    subject: 'CN=web.example',
    // The name as it is encoded, not as text: NSS compares bytes, and there are several encodings of one text.
    issuer: new x509.X509Certificate(ca.certificatePem).subjectName,
    notBefore: new Date(now - ageSeconds * 1000),
    notAfter: new Date(now + 30 * 86_400_000),
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: P256,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: 'web.example' }]),
      new x509.Extension('1.3.6.1.4.1.44363.44', false, Uint8Array.of(5, 0)),
    ],
  });
  const pkcs8 = await crypto.subtle.exportKey('pkcs8', keys.privateKey);
  return {
    certificatePem: `${certificate.toString('pem')}\n`,
    keyPem: `${x509.PemConverter.encode(pkcs8, 'PRIVATE KEY')}\n`,
  };
}
