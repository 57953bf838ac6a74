/** What must hold for credentials before they are sent: what Node would pass over, or report as a fault of the request. */
import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { explainOpenSsl } from '../../text/openssl-error.ts';
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

/** Throws ConnectionError where they are not a client certificate and its key. `what`: `the client certificate of user jane and its key`. */
export function assertPair(cert: string, key: string, what: string): void {
  try {
    // Node takes an empty text for none, and would show no certificate.
    if (cert === '' || key === '') throw new TypeError('one of them is empty');
    createSecureContext({ cert, key });
  } catch (error) {
    const said = error instanceof Error ? explainOpenSsl(error.message).slice(0, 300).trim() : '';
    throw new ConnectionError(`expected ${what}, in PEM: ${said}`);
  }
}

/** Throws ConnectionError, without the value. */
export function assertHeader(value: string, place: string): void {
  if (isHeaderText(value)) return;
  throw new ConnectionError(`expected a token of one line in ${place}, found characters that no HTTP header can carry`);
}

/** Around it, blanks are dropped. RFC 9110, section 5.5. */
export function isHeaderText(value: string): boolean {
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(value.trim());
}
