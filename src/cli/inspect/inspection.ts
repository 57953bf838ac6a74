/** What `dcred inspect` finds out about a file. Pure. */
import { createHash } from 'node:crypto';
import { OWN_PREFIX, SECRET_ANNOTATIONS } from '../../api/keys.ts';
import { type Certificate, readCertificate, readCertificateChain } from '../../credential/certificate.ts';
import { credentialKeyFromPem } from '../../credential/credential-key.ts';
import { checkCertificateValidity, checkDelegation } from '../../credential/delegation-certificate.ts';
import { CertificateError, CredentialKeyError, MalformedCredentialError } from '../../credential/errors.ts';
import { type CredentialFile, type CredentialFormat, readCredentialFile } from '../../credential/formats.ts';
import { schemeByCode, schemeBySubjectPublicKeyInfo, type Usage } from '../../credential/scheme.ts';
import { verifyCredential } from '../../credential/verify.ts';
import { decodeDelegatedCredential } from '../../credential/wire.ts';
import type { Pod } from '../../operator/core/pod.ts';
import { firstItems, printable } from '../../text/printable.ts';
import { formatRfc3339 } from '../../text/rfc3339.ts';
import type { SecretInput } from './manifest.ts';

/** What `dcred inspect` finds; printed as text, or as it is with `-o json`. Holds nothing secret. */
export type Inspection = CredentialInspection | CertificateInspection | SecretInspection | PodInspection;

export interface CredentialInspection {
  readonly kind: 'DelegatedCredential';
  readonly format: CredentialFormat;
  readonly bytes: number;
  /** Only Fizz's file says. */
  readonly usage?: Usage;
  /** Seconds after the certificate's notBefore. */
  readonly validTime: number;
  /** RFC 3339; known only beside the certificate. */
  readonly expiresAt?: string;
  readonly keyAlgorithm: string;
  /** Of the SubjectPublicKeyInfo, hex. */
  readonly publicKeySha256: string;
  readonly dcCertVerifyAlgorithm: string;
  readonly algorithm: string;
  readonly holdsPrivateKey: boolean;
  readonly certificate?: CertificateInspection;
}

export interface CertificateInspection {
  readonly kind: 'Certificate';
  readonly subject: string;
  /** The first 100. */
  readonly dnsNames: readonly string[];
  readonly dnsNamesOmitted: number;
  readonly sha256: string;
  readonly notBefore: string;
  readonly notAfter: string;
  readonly key: string;
  readonly authority: boolean;
  readonly canDelegate: boolean;
  /** Why it cannot, or is not valid now. */
  readonly problems: readonly Problem[];
}

export interface SecretInspection {
  readonly kind: 'Secret';
  readonly namespace?: string;
  readonly name: string;
  readonly type: string;
  /** Those of dcred. */
  readonly annotations: Readonly<Record<string, string>>;
  readonly keys: readonly string[];
  readonly certificate?: CertificateInspection;
  readonly credential?: CredentialInspection;
  /** Whether key, credential and certificate belong together and are good now; absent without a credential. */
  readonly verified?: boolean;
  readonly problems: readonly Problem[];
}

/** A pod by its metadata; the Secrets that were issued to it are inspections of their own. */
export interface PodInspection {
  readonly kind: 'Pod';
  readonly namespace: string;
  readonly name: string;
  /** The DelegatedCredentials that it asks for. */
  readonly injected: readonly string[];
  /** By the injection's annotations: resource to Secret. */
  readonly secretNames: Readonly<Record<string, string>>;
  /** Resources for whose Secrets it waits, unscheduled. */
  readonly waitsFor: readonly string[];
  readonly issued: readonly string[];
  readonly problems: readonly Problem[];
}

export interface Problem {
  readonly code: string;
  readonly message: string;
}

/** Throws MalformedCredentialError. */
export function inspectCredential(file: CredentialFile, now: number, leaf?: Certificate): CredentialInspection {
  const credential = decodeDelegatedCredential(file.bytes);
  const beside = leaf ?? (file.leafPem === undefined ? undefined : readCertificateChain(file.leafPem)[0]);
  const spki = credential.subjectPublicKeyInfo;
  return {
    kind: 'DelegatedCredential',
    format: file.format,
    bytes: file.bytes.length,
    ...(file.usage === undefined ? {} : { usage: file.usage }),
    validTime: credential.validTime,
    ...(beside === undefined ? {} : { expiresAt: formatRfc3339(beside.notBefore + credential.validTime) }),
    keyAlgorithm: schemeBySubjectPublicKeyInfo(spki)?.keyAlgorithm ?? 'unknown',
    publicKeySha256: createHash('sha256').update(spki).digest('hex'),
    dcCertVerifyAlgorithm: schemeName(credential.dcCertVerifyAlgorithm),
    algorithm: schemeName(credential.algorithm),
    holdsPrivateKey: file.holdsPrivateKey,
    ...(beside === undefined || leaf !== undefined ? {} : { certificate: inspectCertificate(beside, now) }),
  };
}

/** `role`: that a CA of the chain cannot delegate is as it should be, and no problem. */
export function inspectCertificate(
  certificate: Certificate,
  now: number,
  role: 'leaf' | 'issuer' = 'leaf',
): CertificateInspection {
  const refusal = checkDelegation(certificate);
  const found = [role === 'leaf' ? refusal : undefined, checkCertificateValidity(certificate, now)];
  const problems = found.filter((problem) => problem !== undefined);
  return {
    kind: 'Certificate',
    subject: certificate.subject,
    dnsNames: certificate.dnsNames,
    dnsNamesOmitted: certificate.dnsNamesOmitted,
    sha256: certificate.sha256,
    notBefore: formatRfc3339(certificate.notBefore),
    notAfter: formatRfc3339(certificate.notAfter),
    key: certificate.keyAlgorithm ?? certificate.keyDescription,
    authority: certificate.authority,
    canDelegate: refusal === undefined,
    problems: problems.map(toProblem),
  };
}

/** DER, as `openssl x509 -outform DER` writes it; undefined for anything else. */
export function inspectDer(der: Uint8Array, now: number): CertificateInspection | undefined {
  try {
    return inspectCertificate(readCertificate(der, { chainPem: '', leafPem: '', where: 'the file' }), now);
  } catch (error) {
    if (error instanceof CertificateError) return undefined;
    throw error;
  }
}

/** Never throws for the content of the Secret: what is wrong with it becomes a problem. */
export function inspectSecret(secret: SecretInput, now: number): SecretInspection {
  const problems: Problem[] = [];
  const attempt = <T>(key: string, work: (content: Uint8Array) => T): T | undefined => {
    const content = secret.data.get(key);
    if (content === undefined) return undefined;
    try {
      return work(content);
    } catch (error) {
      if (!isKnown(error)) throw error;
      problems.push({ code: error.code, message: `${key}: ${error.message}` });
      return undefined;
    }
  };
  const leaf = attempt('tls.crt', (content) => readCertificateChain(Buffer.from(content).toString('utf8'))[0]);
  const credential = attempt('dc.bin', (bytes) => inspectCredential(readCredentialFile(bytes), now, leaf));
  const publicKey = attempt('dc.key', (content) =>
    credentialKeyFromPem(Buffer.from(content).toString('utf8')),
  )?.subjectPublicKeyInfo;
  const bytes = secret.data.get('dc.bin');
  const usage: Usage = secret.annotations[SECRET_ANNOTATIONS.usage] === 'Client' ? 'Client' : 'Server';
  if (bytes !== undefined && publicKey === undefined && !secret.data.has('dc.key')) {
    problems.push({ code: 'KeyMissing', message: 'the Secret has a credential and no dc.key' });
  }
  const result =
    leaf === undefined || bytes === undefined || credential === undefined || publicKey === undefined
      ? undefined
      : verifyCredential({ bytes, certificate: leaf, usage, now, publicKey });
  if (result?.ok === false) problems.push({ code: result.code, message: result.message });
  return {
    kind: 'Secret',
    ...(secret.namespace === undefined ? {} : { namespace: printable(secret.namespace) }),
    name: printable(secret.name),
    type: printable(secret.type),
    annotations: ownAnnotations(secret.annotations),
    keys: firstItems([...secret.data.keys()], MAX_SHOWN).shown.map((key) => printable(key)),
    ...(leaf === undefined ? {} : { certificate: inspectCertificate(leaf, now) }),
    ...(credential === undefined ? {} : { credential }),
    ...(bytes === undefined ? {} : { verified: result?.ok === true }),
    problems,
  };
}

/** @param issued the names of the Secrets that dcred issued to it */
export function inspectPod(pod: Pod, issued: readonly string[]): PodInspection {
  const { gated, ignored, injected, name, namespace, notInjected, secretNames } = pod;
  const absent = Object.entries(secretNames).filter(([, secret]) => !issued.includes(secret));
  const problems = [
    ...(notInjected === undefined ? [] : [{ code: 'NotInjected', message: notInjected }]),
    ...(ignored === undefined ? [] : [{ code: 'Ignored', message: ignored }]),
    ...absent.map(([resource, secret]) => ({
      code: 'NotIssued',
      message: `DelegatedCredential ${resource} has no Secret "${printable(secret)}" for it: see dcred events ${resource} -n ${namespace}`,
    })),
    ...(issued.length === 0 && injected.length === 0
      ? [
          {
            code: 'NotSelected',
            message: 'no DelegatedCredential has issued to it, and none of its labels requests one',
          },
        ]
      : []),
  ];
  const names = Object.fromEntries(
    Object.entries(secretNames).map(([resource, secret]) => [resource, printable(secret)]),
  );
  return { kind: 'Pod', namespace, name, injected, secretNames: names, waitsFor: gated, issued, problems };
}

/** Far more keys and annotations than dcred writes. */
const MAX_SHOWN = 64;

function ownAnnotations(annotations: SecretInput['annotations']): SecretInspection['annotations'] {
  const own = Object.entries(annotations).filter(([key]) => key.startsWith(OWN_PREFIX));
  return Object.fromEntries(
    firstItems(own, MAX_SHOWN).shown.map(([key, value]) => [printable(key), printable(value)] as const),
  );
}

function isKnown(error: unknown): error is CertificateError | CredentialKeyError | MalformedCredentialError {
  return (
    error instanceof CertificateError ||
    error instanceof CredentialKeyError ||
    error instanceof MalformedCredentialError
  );
}

function toProblem({ code, message }: CertificateError): Problem {
  return { code, message };
}

function schemeName(code: number): string {
  const value = `0x${code.toString(16).padStart(4, '0')}`;
  const scheme = schemeByCode(code);
  return scheme === undefined ? value : `${scheme.name} (${value})`;
}
