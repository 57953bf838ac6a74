import { readFileSync } from 'node:fs';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';

export type VectorName = 'p256' | 'p384' | 'client' | 'long' | 'exp';

/** When the vectors are to be judged: 2026-11-22T22:00:00Z. */
export const VECTOR_TIME = Date.UTC(2026, 10, 22, 22) / 1000;

export function vectorFile(name: string): Buffer {
  return readFileSync(new URL(`../vectors/${name}`, import.meta.url));
}

export const vectorLeaf = () => readDelegationCertificate(vectorFile('leaf.crt').toString());
export const vectorBytes = (name: VectorName): Uint8Array => Uint8Array.from(vectorFile(`${name}.dc`));
export const vectorKeyPem = (name: VectorName | 'leaf'): string => vectorFile(`${name}.key`).toString();
