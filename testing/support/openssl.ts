import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Certificates and checks by the OpenSSL command line, which shares no code with dcred. */

export type KeyKind = 'P-256' | 'P-384' | 'P-521' | 'secp256k1' | 'RSA' | 'Ed25519';

const KEY_OPTIONS: Readonly<Record<KeyKind, readonly string[]>> = {
  'P-256': ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  'P-384': ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  'P-521': ['ec', '-pkeyopt', 'ec_paramgen_curve:P-521'],
  secp256k1: ['ec', '-pkeyopt', 'ec_paramgen_curve:secp256k1'],
  RSA: ['rsa:2048'],
  Ed25519: ['ed25519'],
};

export interface LeafOptions {
  readonly key?: KeyKind;
  /** As OpenSSL writes it; null leaves the extension out. */
  readonly delegationUsage?: string | null;
  readonly keyUsage?: string | null;
  readonly basicConstraints?: string;
  readonly days?: number;
  /** Further extensions, as OpenSSL writes them: `extendedKeyUsage=clientAuth`. */
  readonly extensions?: readonly string[];
  /** Further options of `openssl req`. */
  readonly options?: readonly string[];
  readonly subject?: string;
  /** As OpenSSL writes it. */
  readonly subjectAltName?: string;
  /** The CA that signs it; without one it is self-signed. */
  readonly issuer?: Leaf;
}

export interface Leaf {
  readonly certificatePem: string;
  /** PKCS#8. */
  readonly keyPem: string;
}

/** An end-entity certificate, good for delegation by default. */
export function leaf({
  basicConstraints = 'critical,CA:FALSE',
  days = 90,
  delegationUsage = 'ASN1:NULL',
  extensions = [],
  issuer,
  key = 'P-256',
  keyUsage = 'critical,digitalSignature',
  options = [],
  subject = '/CN=web.example',
  subjectAltName = 'DNS:web.example,DNS:*.web.example,IP:127.0.0.1',
}: LeafOptions = {}): Leaf {
  const wanted = [
    `basicConstraints=${basicConstraints}`,
    `subjectAltName=${subjectAltName}`,
    ...(delegationUsage === null ? [] : [`1.3.6.1.4.1.44363.44=${delegationUsage}`]),
    ...(keyUsage === null ? [] : [`keyUsage=${keyUsage}`]),
    ...extensions,
  ];
  return inDirectory((directory) => {
    const certificate = join(directory, 'leaf.crt');
    const keyFile = join(directory, 'leaf.key');
    const made = ['-newkey', ...KEY_OPTIONS[key], ...options, '-nodes', '-keyout', keyFile, '-out', certificate];
    const named = ['-subj', subject, '-days', String(days), ...wanted.flatMap((extension) => ['-addext', extension])];
    openssl('req', '-x509', ...made, ...named, ...(issuer === undefined ? [] : signedBy(issuer, directory)));
    return { certificatePem: readFileSync(certificate, 'utf8'), keyPem: readFileSync(keyFile, 'utf8') };
  });
}

function signedBy(issuer: Leaf, directory: string): readonly string[] {
  const [certificate, key] = [join(directory, 'ca.crt'), join(directory, 'ca.key')];
  writeFileSync(certificate, issuer.certificatePem);
  writeFileSync(key, issuer.keyPem);
  return ['-CA', certificate, '-CAkey', key];
}

/** A CA: self-signed, may sign certificates, may not delegate. */
export function authority(subject = '/CN=test CA'): Leaf {
  return leaf({
    basicConstraints: 'critical,CA:TRUE',
    delegationUsage: null,
    keyUsage: 'critical,keyCertSign',
    subject,
  });
}

/** Runs `openssl` with `input` on its standard input and gives what it prints. */
export function convert(input: string | Uint8Array, ...args: readonly string[]): string {
  return execFileSync('openssl', args, { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] });
}

/** Whether `openssl dgst` (or `pkeyutl` for a scheme without a hash) accepts a signature. */
export function acceptsSignature(claim: {
  readonly hash: string;
  readonly publicKeyPem: string;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}): boolean {
  return inDirectory((directory) => {
    const write = (name: string, content: string | Uint8Array) => {
      writeFileSync(join(directory, name), content);
      return join(directory, name);
    };
    const key = write('key.pem', claim.publicKeyPem);
    const signature = write('signature', claim.signature);
    try {
      openssl('dgst', `-${claim.hash}`, '-verify', key, '-signature', signature, write('message', claim.message));
      return true;
    } catch {
      return false;
    }
  });
}

function openssl(...args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });
}

function inDirectory<T>(work: (directory: string) => T): T {
  const directory = mkdtempSync(join(tmpdir(), 'dcred-openssl-'));
  try {
    return work(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
