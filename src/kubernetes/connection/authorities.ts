import { X509Certificate } from 'node:crypto';
import { ConnectionError } from './connection-error.ts';

/**
 * Throws ConnectionError where `text` begins with no certificate: Node takes an empty text for no text, and would trust whom the world
 * trusts; what it cannot parse it passes over.
 */
export function assertAuthorities(text: string, place: string): void {
  try {
    new X509Certificate(text);
  } catch (cause) {
    throw new ConnectionError(`expected the certificates of authorities, in PEM, in ${place}`, { cause });
  }
}
