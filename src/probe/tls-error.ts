/** Why a TLS 1.3 handshake did not come to its end: what the server did, or what it sent that no server may send. */

export type TlsErrorCode =
  /** Bytes that are not TLS, or not a message in the shape that RFC 8446 gives it. */
  | 'Malformed'
  /** A well-formed message at the wrong time, or with a value that the client did not offer. */
  | 'Unexpected'
  /** More bytes, records or messages than a handshake may take here. */
  | 'TooLarge'
  /** A record that the handshake keys do not open. */
  | 'BadRecord'
  /** CertificateVerify or Finished does not hold: whoever answers has not the key of what it served. */
  | 'BadSignature'
  | 'BadFinished'
  /** The server answered with an alert; `alert` has its name. */
  | 'Alert'
  /** The connection closed before the server's Finished. */
  | 'Closed';

export class TlsError extends Error {
  override readonly name = 'TlsError';
  readonly code: TlsErrorCode;
  /** The AlertDescription's name (RFC 8446 section 6), where the code is `Alert`. */
  readonly alert: string | undefined;

  constructor(code: TlsErrorCode, message: string, options: ErrorOptions & { readonly alert?: string } = {}) {
    super(message, options);
    this.code = code;
    this.alert = options.alert;
  }
}

/** RFC 8446 section 4 and RFC 8879. */
const MESSAGES: Readonly<Record<number, string>> = {
  0: 'hello_request',
  1: 'client_hello',
  2: 'server_hello',
  4: 'new_session_ticket',
  5: 'end_of_early_data',
  8: 'encrypted_extensions',
  11: 'certificate',
  13: 'certificate_request',
  15: 'certificate_verify',
  20: 'finished',
  24: 'key_update',
  25: 'compressed_certificate',
};

/** `handshake message 24 (key_update)`. */
export function messageName(type: number): string {
  const name = MESSAGES[type];
  return name === undefined ? `handshake message ${type}` : `handshake message ${type} (${name})`;
}
