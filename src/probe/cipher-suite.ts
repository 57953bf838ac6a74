/** The cipher suites of TLS 1.3 (RFC 8446 appendix B.4) that node:crypto has, and what each is made of. */

export interface CipherSuite {
  readonly code: number;
  /** The registry's name. */
  readonly name: string;
  readonly hash: 'sha256' | 'sha384';
  readonly hashLength: 32 | 48;
  readonly cipher: 'aes-128-gcm' | 'aes-256-gcm' | 'chacha20-poly1305';
  readonly keyLength: 16 | 32;
}

/** In the order in which they are offered. */
export const CIPHER_SUITES: readonly CipherSuite[] = [
  {
    code: 0x1301,
    name: 'TLS_AES_128_GCM_SHA256',
    hash: 'sha256',
    hashLength: 32,
    cipher: 'aes-128-gcm',
    keyLength: 16,
  },
  {
    code: 0x1302,
    name: 'TLS_AES_256_GCM_SHA384',
    hash: 'sha384',
    hashLength: 48,
    cipher: 'aes-256-gcm',
    keyLength: 32,
  },
  {
    code: 0x1303,
    name: 'TLS_CHACHA20_POLY1305_SHA256',
    hash: 'sha256',
    hashLength: 32,
    cipher: 'chacha20-poly1305',
    keyLength: 32,
  },
];

/** The suite with this registry value, or undefined where it was not offered. */
export function cipherSuiteByCode(code: number): CipherSuite | undefined {
  return CIPHER_SUITES.find((suite) => suite.code === code);
}
