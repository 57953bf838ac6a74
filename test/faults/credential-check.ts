/**
 * Judges the files of one issued Secret with independent code: the structure is read here, signatures are checked by @noble/curves,
 * certificates and keys are read by OpenSSL. Nothing of `src/` is used, so that a mistake there cannot hide itself.
 */
import { createHash, createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { ed25519 } from '@noble/curves/ed25519.js';
import { p256, p384, p521 } from '@noble/curves/nist.js';

type Files = Readonly<Record<string, string>>;

export interface CredentialFiles {
  /** The data of the Secret: file name to base64. */
  readonly data: Files;
  readonly usage: 'Server' | 'Client';
  readonly keyAlgorithm: string;
  /** Seconds since the epoch. */
  readonly now: number;
}

export interface CredentialVerdict {
  /** What is wrong, one sentence each; empty for a good credential. */
  readonly problems: readonly string[];
  /** Seconds since the epoch; undefined where that cannot be read. */
  readonly expiresAt?: number;
  /** SHA-256 of the leaf. */
  readonly leafSha256?: string;
  /** SHA-256 of the pod's public key: tells two keys apart. */
  readonly keySha256?: string;
}

const SEVEN_DAYS = 604_800;
const CONTEXTS = { Server: 'TLS, server delegated credentials', Client: 'TLS, client delegated credentials' } as const;
const SCHEMES: ReadonlyMap<number, string> = new Map([
  [0x0403, 'ECDSAP256'],
  [0x0503, 'ECDSAP384'],
  [0x0603, 'ECDSAP521'],
  [0x0807, 'Ed25519'],
]);
const OPENSSL_CURVES: ReadonlyMap<string | undefined, string> = new Map([
  ['prime256v1', 'ECDSAP256'],
  ['secp384r1', 'ECDSAP384'],
  ['secp521r1', 'ECDSAP521'],
]);
const ECDSA = { format: 'der', lowS: false, prehash: true } as const;
const ALWAYS = ['tls.crt', 'dc.key', 'dc.bin', 'dc.hex', 'dc.pem'] as const;

interface Structure {
  readonly validTime: number;
  readonly verifyAlgorithm: number;
  readonly spki: Buffer;
  /** The part of the structure that is signed. */
  readonly credential: Buffer;
  readonly algorithm: number;
  readonly signature: Buffer;
}

/** RFC 9345 section 4; undefined for anything else. */
function readStructure(bytes: Buffer): Structure | undefined {
  if (bytes.length < 9) return undefined;
  const spkiEnd = 9 + bytes.readUIntBE(6, 3);
  if (bytes.length < spkiEnd + 4) return undefined;
  const signatureEnd = spkiEnd + 4 + bytes.readUInt16BE(spkiEnd + 2);
  if (bytes.length !== signatureEnd) return undefined;
  return {
    validTime: bytes.readUInt32BE(0),
    verifyAlgorithm: bytes.readUInt16BE(4),
    spki: bytes.subarray(9, spkiEnd),
    credential: bytes.subarray(0, spkiEnd),
    algorithm: bytes.readUInt16BE(spkiEnd),
    signature: bytes.subarray(spkiEnd + 4),
  };
}

/** The DER of every certificate in a PEM text, in its order. */
export function certificatesOf(pem: string): readonly Buffer[] {
  const blocks = pem.matchAll(/-----BEGIN CERTIFICATE-----\s([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----/g);
  return [...blocks].map(([, body = '']) => Buffer.from(body, 'base64'));
}

/** Every check is made, so that a report shows all that is wrong with a Secret. */
export function checkCredential({ data, keyAlgorithm, now, usage }: CredentialFiles): CredentialVerdict {
  const wanted = keyAlgorithm === 'ECDSAP256' ? [...ALWAYS, 'fizz.pem'] : ALWAYS;
  const missing = wanted.filter((name) => (data[name] ?? '') === '');
  if (missing.length > 0) return { problems: [`it is not whole: ${missing.join(', ')} missing`] };
  const file = (name: string) => Buffer.from(data[name] ?? '', 'base64');
  const [leafDer] = certificatesOf(file('tls.crt').toString());
  const structure = readStructure(file('dc.bin'));
  if (leafDer === undefined) return { problems: ['tls.crt holds no certificate'] };
  if (structure === undefined) return { problems: ['dc.bin is no DelegatedCredential structure'] };
  try {
    const { expiresAt, leafSha256, keySha256, notAfter, problems } = judged({
      data,
      file,
      leafDer,
      structure,
      keyAlgorithm,
      usage,
    });
    return { problems: [...untimely(expiresAt, notAfter, now), ...problems], expiresAt, leafSha256, keySha256 };
  } catch (error) {
    return { problems: [`it cannot be read: ${error instanceof Error ? error.message : String(error)}`] };
  }
}

function untimely(expiresAt: number, notAfter: number, now: number): readonly string[] {
  const problems: string[] = [];
  if (now > expiresAt) problems.push(`it expired at ${iso(expiresAt)}, and it is ${iso(now)}`);
  if (expiresAt - now > SEVEN_DAYS) problems.push(`it is valid for more than seven days, until ${iso(expiresAt)}`);
  if (expiresAt >= notAfter) problems.push(`it ends at ${iso(expiresAt)}, not before its leaf at ${iso(notAfter)}`);
  return problems;
}

interface Parts extends Pick<CredentialFiles, 'data' | 'keyAlgorithm' | 'usage'> {
  readonly file: (name: string) => Buffer;
  readonly leafDer: Buffer;
  readonly structure: Structure;
}

/** What does not change with time. */
type Lasting = Required<CredentialVerdict> & { readonly notAfter: number };

/** Checking keys and signatures takes milliseconds, and a run checks the same Secrets many times. */
const known = new Map<string, Lasting>();

function judged(parts: Parts): Lasting {
  const { data, keyAlgorithm, usage } = parts;
  const entries = Object.entries(data).toSorted(([a], [b]) => (a < b ? -1 : 1));
  const of = sha256(JSON.stringify([entries, keyAlgorithm, usage]));
  const verdict = known.get(of) ?? checkParts(parts);
  known.set(of, verdict);
  return verdict;
}

function checkParts({ file, keyAlgorithm, leafDer, structure, usage }: Parts): Lasting {
  const leaf = new X509Certificate(leafDer);
  const notBefore = leaf.validFromDate.getTime() / 1000;
  const notAfter = leaf.validToDate.getTime() / 1000;
  const key = createPrivateKey(file('dc.key'));
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' });
  const problems: string[] = [];
  const check = (ok: boolean, problem: string) => {
    if (!ok) problems.push(problem);
  };
  check(spki.equals(structure.spki), 'the private key in dc.key belongs to another credential');
  check(SCHEMES.get(structure.verifyAlgorithm) === keyAlgorithm, `its key is not for ${keyAlgorithm}`);
  check(isSigned(leaf, leafDer, structure, usage), `the leaf in tls.crt did not sign it for ${usage}`);
  problems.push(...disagreements(file, keyAlgorithm));
  const expiresAt = notBefore + structure.validTime;
  return { problems, expiresAt, notAfter, leafSha256: sha256(leafDer), keySha256: sha256(spki) };
}

/** Files that disagree with `dc.bin`, `dc.key` and `tls.crt`: a mixed Secret. */
function disagreements(file: Parts['file'], keyAlgorithm: string): readonly string[] {
  const bytes = file('dc.bin');
  const others: (readonly [string, Buffer])[] = [
    ['dc.hex', Buffer.from(file('dc.hex').toString().trim(), 'hex')],
    ['dc.pem', base64Between(file('dc.pem').toString(), 'DELEGATED CREDENTIAL')],
  ];
  const problems = others
    .filter(([, other]) => !other.equals(bytes))
    .map(([name]) => `${name} holds another credential`);
  if (keyAlgorithm !== 'ECDSAP256') return problems;
  const fizz = file('fizz.pem').toString();
  const same = (label: string, der: Buffer) => base64Between(fizz, label).equals(der);
  const pkcs8 = createPrivateKey(file('dc.key')).export({ type: 'pkcs8', format: 'der' });
  if (!same('(?:SERVER|CLIENT) DELEGATED CREDENTIAL', bytes)) problems.push('fizz.pem holds another credential');
  if (!same('(?:SERVER|CLIENT) DC PRIVATE KEY', pkcs8)) problems.push('fizz.pem holds another key');
  const chain = (text: string) => Buffer.concat(certificatesOf(text));
  if (!chain(fizz).equals(chain(file('tls.crt').toString()))) problems.push('fizz.pem holds another chain');
  return problems;
}

function base64Between(text: string, label: string): Buffer {
  const [, body = ''] = new RegExp(`-----BEGIN ${label}-----\\s([^-]*)-----END `).exec(text) ?? [];
  return Buffer.from(body, 'base64');
}

function isSigned(leaf: X509Certificate, leafDer: Buffer, structure: Structure, usage: 'Server' | 'Client'): boolean {
  const algorithm = OPENSSL_CURVES.get(leaf.publicKey.asymmetricKeyDetails?.namedCurve);
  if (algorithm === undefined || SCHEMES.get(structure.algorithm) !== algorithm) return false;
  const { algorithm: code, credential, signature } = structure;
  const message = Buffer.concat([
    Buffer.alloc(64, 0x20),
    Buffer.from(`${CONTEXTS[usage]}\0`),
    leafDer,
    credential,
    Buffer.from([code >> 8, code & 0xff]),
  ]);
  const { x = '', y = '' } = leaf.publicKey.export({ format: 'jwk' });
  const point = Buffer.concat([Buffer.from([4]), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
  return verifierOf(algorithm)(signature, message, point);
}

function verifierOf(algorithm: string): (signature: Uint8Array, message: Uint8Array, key: Uint8Array) => boolean {
  if (algorithm === 'Ed25519') return (signature, message, key) => ed25519.verify(signature, message, key);
  const curve = algorithm === 'ECDSAP256' ? p256 : algorithm === 'ECDSAP384' ? p384 : p521;
  return (signature, message, key) => curve.verify(signature, message, key, ECDSA);
}

function sha256(bytes: Buffer | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

function iso(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}
