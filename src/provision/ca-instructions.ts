/** What each CA needs, beside the request, so that its certificate carries DelegationUsage. Pure. */

import { DELEGATION_USAGE_OID } from '../credential/extensions.ts';
import type { Usage } from '../credential/scheme.ts';
import { commonNameOf, DELEGATION_USAGE_VALUE } from './x509-parts.ts';

export const CA_KINDS = ['openssl', 'cfssl', 'aws-private-ca'] as const;
export type CaKind = (typeof CA_KINDS)[number];

export interface CaInstructions {
  /** A file that goes beside the request. */
  readonly file: { readonly name: string; readonly content: string };
  /** The command to run then; words in capitals are the reader's to replace. */
  readonly command: string;
}

export interface InstructionOptions {
  /** The request's path, as the command names it. */
  readonly request: string;
  readonly dnsNames: readonly string[];
  readonly usage: Usage;
}

const DAYS = 90;

export function caInstructions(kind: CaKind, options: InstructionOptions): CaInstructions {
  return INSTRUCTIONS[kind](options);
}

const INSTRUCTIONS: Readonly<Record<CaKind, (options: InstructionOptions) => CaInstructions>> = {
  openssl: ({ dnsNames, request, usage }) => ({
    file: {
      name: 'openssl.ext',
      content: [
        'basicConstraints = critical, CA:FALSE',
        'keyUsage = critical, digitalSignature',
        `extendedKeyUsage = ${usage === 'Server' ? 'serverAuth' : 'clientAuth'}`,
        `subjectAltName = ${commonNameOf(dnsNames) === undefined ? 'critical, ' : ''}${dnsNames.map((name) => `DNS:${name}`).join(', ')}`,
        `${DELEGATION_USAGE_OID} = ASN1:NULL`,
        '',
      ].join('\n'),
    },
    command: `openssl x509 -req -in ${request} -CA CA.crt -CAkey CA.key -days ${DAYS} -extfile openssl.ext -out tls.crt`,
  }),

  // cfssl's own switch for RFC 9345: config.SigningProfile, `delegation_enabled`.
  cfssl: ({ request, usage }) => ({
    file: {
      name: 'cfssl.json',
      content: json({
        signing: {
          profiles: {
            delegation: {
              usages: ['digital signature', usage === 'Server' ? 'server auth' : 'client auth'],
              expiry: `${DAYS * 24}h`,
              delegation_enabled: true,
            },
          },
        },
      }),
    },
    command: `cfssl sign -ca CA.crt -ca-key CA.key -config cfssl.json -profile delegation ${request} | cfssljson -bare tls`,
  }),

  // Blank templates take every extension from ApiPassthrough and none from the request.
  'aws-private-ca': ({ dnsNames, request, usage }) => ({
    file: {
      name: 'api-passthrough.json',
      content: json({
        Extensions: {
          KeyUsage: { DigitalSignature: true },
          ExtendedKeyUsage: [{ ExtendedKeyUsageType: usage === 'Server' ? 'SERVER_AUTH' : 'CLIENT_AUTH' }],
          SubjectAlternativeNames: dnsNames.map((DnsName) => ({ DnsName })),
          CustomExtensions: [
            {
              ObjectIdentifier: DELEGATION_USAGE_OID,
              Value: Buffer.from(DELEGATION_USAGE_VALUE).toString('base64'),
              Critical: false,
            },
          ],
        },
      }),
    },
    command: [
      'aws acm-pca issue-certificate --certificate-authority-arn ARN',
      `  --csr fileb://${request} --signing-algorithm SHA256WITHECDSA --validity Value=${DAYS},Type=DAYS`,
      '  --template-arn arn:aws:acm-pca:::template/BlankEndEntityCertificate_APIPassthrough/V1',
      '  --api-passthrough file://api-passthrough.json',
    ].join(' \\\n'),
  }),
};

function json(value: object): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
