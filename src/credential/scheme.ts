/** The signature schemes of TLS 1.3 that credentials use (RFC 8446 section 4.2.3): one table, one row an algorithm. Pure. */

/** The side of TLS that uses the credential: it is part of what is signed (RFC 9345 section 4). */
export type Usage = 'Server' | 'Client';
export const USAGES = ['Server', 'Client'] as const satisfies readonly Usage[];

export type KeyAlgorithm = 'ECDSAP256' | 'ECDSAP384' | 'ECDSAP521' | 'Ed25519';

/** What stands around the two halves of such a key in PKCS#8 (RFC 5958, with RFC 5915 inside): everything but the numbers is fixed. */
export interface RawKeyEncoding {
  readonly pkcs8Prefix: Uint8Array;
  /** Bytes of the private number. */
  readonly privateLength: number;
  /** Between the private number and the uncompressed point, which ends it. */
  readonly pkcs8Middle: Uint8Array;
}

/** One row of the TLS SignatureScheme registry (RFC 8446 section 4.2.3), and all that dcred needs to use it. */
export interface SignatureScheme {
  /** The registry's name. */
  readonly name: string;
  /** The registry's value, a u16. */
  readonly code: number;
  /** TLS 1.3 binds each of these schemes to one kind of key, so the two name each other. */
  readonly keyAlgorithm: KeyAlgorithm;
  /** For node:crypto; null where the algorithm does its own hashing. */
  readonly hash: 'sha256' | 'sha384' | 'sha512' | null;
  /** node:crypto's name for the kind of key. */
  readonly keyType: 'ec' | 'ed25519';
  /** node:crypto's name for the curve; undefined where the kind of key has only one. */
  readonly namedCurve: string | undefined;
  /**
   * How the DER of every such SubjectPublicKeyInfo begins: the AlgorithmIdentifier, the BIT STRING's header and, for EC, the
   * 0x04 of an uncompressed point. With the length it identifies the kind of key without a parser.
   */
  readonly spkiPrefix: Uint8Array;
  /** Bytes in such a SubjectPublicKeyInfo. */
  readonly spkiLength: number;
  /** Whether such a key is made in less time than it takes to hand the work to a thread. */
  readonly syncKeygen: boolean;
  /** Set where keys are written by template, because very many of them are made: see `generateCredentialKey`. */
  readonly rawKeys?: RawKeyEncoding;
  /** Whether a leaf with such a key may sign credentials. Browsers refuse all but ECDSA. */
  readonly delegates: boolean;
}

/** A new algorithm is a new row here, and nothing else. */
export const SIGNATURE_SCHEMES: readonly SignatureScheme[] = [
  {
    name: 'ecdsa_secp256r1_sha256',
    code: 0x0403,
    keyAlgorithm: 'ECDSAP256',
    hash: 'sha256',
    keyType: 'ec',
    namedCurve: 'prime256v1',
    spkiPrefix: hex('3059301306072a8648ce3d020106082a8648ce3d03010703420004'),
    spkiLength: 91,
    syncKeygen: true,
    rawKeys: {
      pkcs8Prefix: hex('308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420'),
      privateLength: 32,
      pkcs8Middle: hex('a144034200'),
    },
    delegates: true,
  },
  {
    name: 'ecdsa_secp384r1_sha384',
    code: 0x0503,
    keyAlgorithm: 'ECDSAP384',
    hash: 'sha384',
    keyType: 'ec',
    namedCurve: 'secp384r1',
    spkiPrefix: hex('3076301006072a8648ce3d020106052b8104002203620004'),
    spkiLength: 120,
    syncKeygen: false,
    delegates: true,
  },
  {
    name: 'ecdsa_secp521r1_sha512',
    code: 0x0603,
    keyAlgorithm: 'ECDSAP521',
    hash: 'sha512',
    keyType: 'ec',
    namedCurve: 'secp521r1',
    spkiPrefix: hex('30819b301006072a8648ce3d020106052b810400230381860004'),
    spkiLength: 158,
    syncKeygen: false,
    delegates: true,
  },
  {
    name: 'ed25519',
    code: 0x0807,
    keyAlgorithm: 'Ed25519',
    hash: null,
    keyType: 'ed25519',
    namedCurve: undefined,
    spkiPrefix: hex('302a300506032b6570032100'),
    spkiLength: 44,
    syncKeygen: true,
    delegates: false,
  },
];

export const KEY_ALGORITHMS: readonly KeyAlgorithm[] = SIGNATURE_SCHEMES.map((scheme) => scheme.keyAlgorithm);

const byCode = new Map(SIGNATURE_SCHEMES.map((scheme) => [scheme.code, scheme]));
const byKeyAlgorithm = new Map(SIGNATURE_SCHEMES.map((scheme) => [scheme.keyAlgorithm, scheme]));

/**
 * The scheme with this registry value, or undefined where dcred has none.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { schemeByCode } from 'dcred/credential';
 *
 * assert.equal(schemeByCode(0x0403)?.keyAlgorithm, 'ECDSAP256');
 * assert.equal(schemeByCode(0x0804), undefined);
 */
export function schemeByCode(code: number): SignatureScheme | undefined {
  return byCode.get(code);
}

/**
 * The one scheme that a key of this kind signs with.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { schemeByKeyAlgorithm } from 'dcred/credential';
 *
 * assert.equal(schemeByKeyAlgorithm('ECDSAP384').name, 'ecdsa_secp384r1_sha384');
 */
export function schemeByKeyAlgorithm(algorithm: KeyAlgorithm): SignatureScheme {
  const scheme = byKeyAlgorithm.get(algorithm);
  if (scheme === undefined) throw new TypeError(`no signature scheme for the key algorithm "${algorithm}"`);
  return scheme;
}

/**
 * The scheme whose keys look like this SubjectPublicKeyInfo (DER), or undefined. Canonical encodings only: a named curve and an
 * uncompressed point. Does not check that the point is on its curve.
 *
 * @example
 * import assert from 'node:assert/strict';
 * import { generateCredentialKey, schemeBySubjectPublicKeyInfo } from 'dcred/credential';
 *
 * const { subjectPublicKeyInfo } = await generateCredentialKey('Ed25519');
 * assert.equal(schemeBySubjectPublicKeyInfo(subjectPublicKeyInfo)?.name, 'ed25519');
 */
export function schemeBySubjectPublicKeyInfo(spki: Uint8Array): SignatureScheme | undefined {
  return SIGNATURE_SCHEMES.find(
    ({ spkiLength, spkiPrefix }) =>
      spki.length === spkiLength && spkiPrefix.every((byte, position) => spki[position] === byte),
  );
}

/** The scheme for node:crypto's description of a key, or undefined. */
export function schemeByKeyType(
  keyType: string | undefined,
  namedCurve: string | undefined,
): SignatureScheme | undefined {
  return SIGNATURE_SCHEMES.find((scheme) => scheme.keyType === keyType && scheme.namedCurve === namedCurve);
}

function hex(text: string): Uint8Array {
  return Uint8Array.from(Buffer.from(text, 'hex'));
}
